import type { IdempotencyStore } from './store.js';
import { jittered, pause } from './timing.js';

const FIRST_POLL_MS = 25;
const SLOWEST_POLL_MS = 250;

interface Watch {
  readonly changed: Promise<void>;
  readonly end: AbortController;
  waiters: number;
}

/**
 * Where duplicates wait for the owner of their key. All that wait for one key in this process share
 * one poll; nobody holds a connection. Being called is a hint: the caller looks at the store again.
 */
export class WaitingRoom {
  private readonly watches = new Map<string, Watch>();

  constructor(private readonly store: IdempotencyStore) {}

  /** Resolves when the record may no longer be held by `owner`, and after `ms` at the latest. */
  async wait(id: string, owner: string, ms: number): Promise<void> {
    const watch = this.watches.get(id) ?? this.watch(id, owner);
    watch.waiters += 1;
    const timeOut = new AbortController();
    await Promise.race([watch.changed, pause(ms, timeOut.signal)]);
    timeOut.abort();
    watch.waiters -= 1;
    if (watch.waiters === 0) {
      watch.end.abort();
    }
  }

  /** Calls everybody who waits for this key in this process. */
  call(id: string): void {
    this.watches.get(id)?.end.abort();
  }

  private watch(id: string, owner: string): Watch {
    const end = new AbortController();
    const changed = this.poll(id, owner, end.signal).finally(() => this.watches.delete(id));
    const watch: Watch = { changed, end, waiters: 0 };
    this.watches.set(id, watch);
    return watch;
  }

  private async poll(id: string, owner: string, end: AbortSignal): Promise<void> {
    for (let delay = FIRST_POLL_MS; ; delay = Math.min(delay * 2, SLOWEST_POLL_MS)) {
      await pause(jittered(delay), end);
      if (end.aborted) {
        return;
      }
      try {
        const record = await this.store.find(id);
        if (record === null || record.state !== 'in-progress' || record.owner !== owner) {
          return;
        }
      } catch {
        // the store is away for the moment: who waits finds out by the claim that follows
        return;
      }
    }
  }
}
