import { derivedKey, type Identity } from './identity.js';
import type { Claim } from './store.js';

/** What the handler of an idempotent operation may know of, and do about, its own attempt. */
export interface IdempotencyContext {
  readonly key: string;
  readonly scope: string;
  /** 1 for the first run of this key. */
  readonly attempt: number;
  /** Rises with every attempt in the whole store: a receiver that keeps the highest it saw can refuse a late writer. */
  readonly fence: bigint;
  /** Aborts when this attempt has lost its lease or outlived `maxDuration`: it can no longer record an outcome. */
  readonly signal: AbortSignal;
  /** An idempotency key for the next system: the same over all attempts of this key, another for each `name`. */
  derive(name: string): string;
}

/** One run of an operation: the owner of a claim until it settles or loses it. */
export class Attempt implements IdempotencyContext, Claim {
  readonly key: string;
  readonly scope: string;
  readonly startedAt = performance.now();
  /** When the store last confirmed the lease; `performance.now()`, taken before the question was sent. */
  confirmedAt: number;
  private readonly abort = new AbortController();

  constructor(
    readonly id: string,
    readonly owner: string,
    identity: Identity,
    readonly attempt: number,
    readonly fence: bigint,
    readonly leaseMs: number,
    readonly maxDurationMs: number,
    claimedAt: number,
  ) {
    this.key = identity.key;
    this.scope = identity.scope;
    this.confirmedAt = claimedAt;
  }

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  derive(name: string): string {
    return derivedKey(this.id, name);
  }

  lose(reason: string): void {
    if (!this.signal.aborted) {
      this.abort.abort(new Error(reason));
    }
  }
}
