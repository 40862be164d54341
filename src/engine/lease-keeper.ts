import type { Attempt } from './attempt.js';
import { failpoint } from './failpoints.js';
import type { Claim, IdempotencyStore } from './store.js';
import { LONGEST_TIMER_MS, within } from './timing.js';

/**
 * Renews the leases of this process's running attempts: one statement for all of them, and none for
 * an attempt that ends within a third of its lease. Its timer runs only while attempts do.
 */
export class LeaseKeeper {
  private readonly attempts = new Map<string, Attempt>();
  private timer: NodeJS.Timeout | undefined;
  private tickMs = 0;
  private renewing = false;

  constructor(
    private readonly store: IdempotencyStore,
    private readonly storeTimeoutMs: number,
  ) {}

  get claims(): Claim[] {
    return [...this.attempts.values()].map(({ id, owner }) => ({ id, owner }));
  }

  keep(attempt: Attempt): void {
    this.attempts.set(attempt.owner, attempt);
    const tickMs = Math.min(Math.max(10, Math.floor(attempt.leaseMs / 6)), LONGEST_TIMER_MS);
    if (this.timer === undefined || tickMs < this.tickMs) {
      clearInterval(this.timer);
      this.tickMs = tickMs;
      this.timer = setInterval(() => void this.tick(), tickMs).unref();
    }
  }

  drop(attempt: Attempt): void {
    this.attempts.delete(attempt.owner);
    if (this.attempts.size === 0) {
      this.stop();
    }
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private async tick(): Promise<void> {
    const now = performance.now();
    for (const attempt of this.attempts.values()) {
      if (now > attempt.deadline) {
        attempt.lose('The operation outlived its maxDuration.');
        this.drop(attempt);
      } else if (now - attempt.confirmedAt > attempt.leaseMs) {
        // by this process's own clock the lease is over, whatever the store would say
        attempt.lose('The lease could not be renewed in time.');
      }
    }
    if (this.renewing) {
      return;
    }
    this.renewing = true;
    try {
      await failpoint('renew');
      for (const [leaseMs, due] of this.due()) {
        await this.renew(due, leaseMs);
      }
    } catch {
      // the store is away: the next tick tries again, and the lease ends by itself
    } finally {
      this.renewing = false;
    }
  }

  private due(): Map<number, Attempt[]> {
    const now = performance.now();
    const byLease = new Map<number, Attempt[]>();
    for (const attempt of this.attempts.values()) {
      if (now - attempt.confirmedAt >= attempt.leaseMs / 3) {
        const group = byLease.get(attempt.leaseMs);
        if (group === undefined) {
          byLease.set(attempt.leaseMs, [attempt]);
        } else {
          group.push(attempt);
        }
      }
    }
    return byLease;
  }

  private async renew(attempts: readonly Attempt[], leaseMs: number): Promise<void> {
    const askedAt = performance.now();
    const claims = attempts.map(({ id, owner }) => ({ id, owner }));
    const renewed = await within(this.storeTimeoutMs, this.store.renew(claims, leaseMs));
    for (const attempt of attempts) {
      if (renewed.has(attempt.owner)) {
        attempt.confirmedAt = askedAt;
      } else if (this.attempts.has(attempt.owner)) {
        attempt.lose('The lease was lost to another attempt.');
        this.drop(attempt);
      }
    }
  }
}
