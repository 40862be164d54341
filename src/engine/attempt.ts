import { derivedKey } from './identity.js';
import type { Operation } from './operation.js';
import type { Claim } from './store.js';

/** What the handler of an idempotent operation may know of, and do about, its own attempt. */
export interface IdempotencyContext {
  readonly key: string;
  readonly scope: string;
  /** 1 for the first run of this key. */
  readonly attempt: number;
  /** Rises with every attempt in the whole store: a receiver that keeps the highest it saw can refuse a late writer. */
  readonly fence: bigint;
  /**
   * Aborts when this attempt has lost its lease or outlived `maxDuration`: another may begin beside it, and
   * once one has, this one can no longer record an outcome.
   */
  readonly signal: AbortSignal;
  /** An idempotency key for the next system: the same over all attempts of this key, another for each `name`. */
  derive(name: string): string;
}

/** One run of an operation: the owner of a claim until it settles or loses it. */
export class Attempt implements IdempotencyContext, Claim {
  readonly id: string;
  readonly key: string;
  readonly scope: string;
  readonly attempt: number;
  readonly fence: bigint;
  readonly leaseMs: number;
  /** When its lease is no longer renewed; `performance.now()`. */
  deadline: number;
  /** Whether this failure came of others at the same time, and the attempt is undone and run once more. */
  runsAgain: (error: unknown) => boolean = () => false;
  /** Undoes what a failed attempt did, where it can: to be called before anybody is told of the failure. */
  undo: () => Promise<void> = async () => {};
  private readonly maxDurationMs: number;
  private finished = false;
  private lost: Error | undefined;
  /** Made when somebody asks: most handlers never do, and it is the dearest part of an attempt. */
  private abort: AbortController | undefined;

  constructor(
    operation: Operation,
    readonly owner: string,
    claim: { readonly attempt: number; readonly fence: bigint },
    /** When the store last confirmed the lease; `performance.now()`, taken before the question was sent. */
    public confirmedAt: number,
    /** How long its outcome is kept, from completion. */
    readonly ttlMs = operation.policy.ttlMs,
  ) {
    const { id, identity, policy } = operation;
    this.id = id;
    this.key = identity.key;
    this.scope = identity.scope;
    this.attempt = claim.attempt;
    this.fence = claim.fence;
    this.leaseMs = policy.leaseMs;
    this.maxDurationMs = policy.maxDurationMs;
    this.deadline = performance.now() + policy.maxDurationMs;
  }

  get signal(): AbortSignal {
    if (this.abort === undefined) {
      this.abort = new AbortController();
      if (this.lost !== undefined) {
        this.abort.abort(this.lost);
      }
    }
    return this.abort.signal;
  }

  derive(name: string): string {
    return derivedKey(this.id, name);
  }

  /** The work is done: nothing is left to abort, and recording its outcome may take as long again. */
  finish(): void {
    this.finished = true;
    this.deadline = performance.now() + this.maxDurationMs;
  }

  lose(reason: string): void {
    if (!this.finished && this.lost === undefined) {
      this.lost = new Error(reason);
      this.abort?.abort(this.lost);
    }
  }
}
