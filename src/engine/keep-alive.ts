import type { Attempt } from './attempt.js';
import type { StoreTransaction } from './store.js';

/**
 * The lease of a transaction: the database ends it when its owner has been silent for that long, so that
 * the owner speaks up while its work is busy elsewhere, and stops to when it has outlived `maxDuration`.
 *
 * The transaction of a step is not its attempt, which has a lease of its own and may outlast it.
 */
export class KeepAlive {
  private readonly timer: NodeJS.Timeout;
  private speaking = false;

  constructor(
    private readonly attempt: Attempt,
    private readonly transaction: StoreTransaction,
    private readonly of: 'attempt' | 'step' = 'attempt',
  ) {
    this.timer = setInterval(() => void this.tick(), Math.max(10, attempt.leaseMs / 3)).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private async tick(): Promise<void> {
    if (performance.now() > this.attempt.deadline) {
      this.stop();
      this.lose('The operation outlived its maxDuration.');
      await this.transaction.rollback();
      return;
    }
    if (this.speaking) {
      return;
    }
    this.speaking = true;
    const askedAt = performance.now();
    try {
      await this.transaction.keepAlive();
      if (this.of === 'attempt') {
        this.attempt.confirmedAt = Math.max(this.attempt.confirmedAt, askedAt);
      }
    } catch {
      this.stop();
      this.lose('The connection of the transaction was lost.');
    } finally {
      this.speaking = false;
    }
  }

  private lose(reason: string): void {
    if (this.of === 'attempt') {
      this.attempt.lose(reason);
    }
  }
}
