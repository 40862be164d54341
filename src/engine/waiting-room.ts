import type { IdempotencyStore } from './store.js';
import { jittered, pause, within } from './timing.js';

const FIRST_POLL_MS = 25;
const SLOWEST_POLL_MS = 250;

interface Watch {
  readonly over: AbortController;
  readonly changed: Promise<void>;
  waiters: number;
}

/**
 * Where duplicates wait for the owner of their key. All that wait for one key in this process share
 * one poll; nobody holds a connection. Being called is a hint: the caller looks at the store again.
 */
export class WaitingRoom {
  private readonly watches = new Map<string, Watch>();

  constructor(
    private readonly store: IdempotencyStore,
    private readonly storeTimeoutMs: number,
  ) {}

  /** Resolves when the record may no longer be in progress, and after `ms` at the latest. */
  async wait(id: string, ms: number): Promise<void> {
    const watch = this.watches.get(id) ?? this.watch(id);
    watch.waiters += 1;
    const timeOut = new AbortController();
    await Promise.race([watch.changed, pause(ms, timeOut.signal)]);
    timeOut.abort();
    watch.waiters -= 1;
    if (watch.waiters === 0) {
      watch.over.abort();
    }
  }

  /** Calls everybody who waits for this key in this process. */
  call(id: string): void {
    this.watches.get(id)?.over.abort();
  }

  callAll(): void {
    for (const id of this.watches.keys()) {
      this.call(id);
    }
  }

  private watch(id: string): Watch {
    const over = new AbortController();
    const changed = new Promise<void>((resolve) => {
      over.signal.addEventListener('abort', () => {
        this.watches.delete(id);
        resolve();
      });
    });
    const watch: Watch = { over, changed, waiters: 0 };
    this.watches.set(id, watch);
    void this.poll(id, over);
    return watch;
  }

  private async poll(id: string, over: AbortController): Promise<void> {
    let delay = FIRST_POLL_MS;
    while (!over.signal.aborted) {
      await pause(jittered(delay), over.signal);
      delay = Math.min(delay * 2, SLOWEST_POLL_MS);
      if (!over.signal.aborted && !(await this.isHeld(id))) {
        over.abort();
      }
    }
  }

  private async isHeld(id: string): Promise<boolean> {
    try {
      const record = await within(this.storeTimeoutMs, this.store.find(id));
      return record?.state === 'in-progress';
    } catch {
      return true; // as far as is known: the next look may find the store back
    }
  }
}
