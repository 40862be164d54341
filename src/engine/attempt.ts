import { attemptLost } from './answers.js';
import { IdempotencyError } from './errors.js';
import { derivedKey } from './identity.js';
import type { Operation } from './operation.js';
import type { OutgoingMessages, OutgoingOptions } from './outgoing.js';
import { Progress, type Keeper } from './progress.js';
import { Steps } from './steps.js';
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
  /**
   * Runs `work` unless an earlier attempt of this key has finished the step, whose result is answered then with
   * its types (Date, BigInt, Map, Buffer, `undefined`). Once it has answered, the result is durable; in a
   * transactional operation, once that has failed. Ask for the
   * same names in the same order in every attempt; all results together must fit into `maxResultBytes`.
   *
   * @throws what `work` throws, and then nothing is kept; IdempotencyError `…_STEPS_CHANGED` for a step that does
   *   not fit to those of an earlier attempt, or a name used twice; `…_RESULT_UNAVAILABLE` for a finished step
   *   whose result could not be kept; `…_IN_PROGRESS` when this attempt has lost its lease;
   *   `…_STORE_UNAVAILABLE` when its result could not be recorded; `…_MISCONFIGURED` for a step inside of a step,
   *   inside of a transaction that the attempt is not a part of, or after the attempt.
   */
  step<T>(name: string, work: () => T | Promise<T>): Promise<T>;
  /**
   * A step whose work on the store's database, through TypeORM and however deep, commits together with its
   * result, or not at all: with `mode: 'lease'` in a transaction of its own, in a transactional operation as a
   * part of its transaction. When others at the same time are in the way, `work` runs again.
   *
   * @throws as `step()`; and `…_TRANSACTION_BROKEN`, `…_TRANSACTION_CONFLICT`, or `…_MISCONFIGURED` for a store
   *   without transactions.
   */
  transaction<T>(name: string, work: () => T | Promise<T>): Promise<T>;
  /**
   * The point of no return, to be awaited before an effect that must not happen twice. If the attempt fails or
   * dies afterwards, its outcome is uncertain, and nothing runs again by itself.
   *
   * @throws IdempotencyError `…_IN_PROGRESS` when this attempt has lost its lease, `…_STORE_UNAVAILABLE` when the
   *   point could not be recorded, `…_MISCONFIGURED` inside of a transaction, which may be undone yet. The
   *   effect must not begin then.
   */
  effectStarted(): Promise<void>;
  /**
   * Messages of this operation to other services, where the `OutboxModule` is imported. Their ids are derived
   * from the key, the pattern and how many of that pattern went before, so that every attempt writes the same
   * messages: emit them in the same order in every attempt, or give each an `id`.
   */
  readonly outbox: OutgoingMessages;
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
  /** A failure from now on leaves an uncertain outcome. */
  effectBegun = false;
  readonly progress: Progress;
  /** Where its messages are written. */
  outgoing: OutgoingMessages | undefined;
  /** Told when the attempt is given up, whatever its work is at. */
  onLost: (error: Error) => void = () => undefined;
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
    /** What earlier attempts have finished. */
    steps = new Steps(operation.fingerprint, operation.policy.maxResultBytes),
    /** Where its steps are kept; nowhere for an attempt without protection. */
    keeperOf?: (attempt: Attempt) => Keeper,
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
    this.progress = new Progress(this, steps, keeperOf?.(this));
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

  step<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    return this.progress.step(name, work);
  }

  transaction<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    return this.progress.step(name, work, true);
  }

  effectStarted(): Promise<void> {
    return this.progress.effectStarted();
  }

  get outbox(): OutgoingMessages {
    return { emit: (pattern, payload, options) => this.emit(pattern, payload, options) };
  }

  private async emit(
    pattern: string,
    payload: unknown,
    options: OutgoingOptions = {},
  ): Promise<string> {
    this.checkRunning();
    if (this.outgoing === undefined) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        'once.outbox.emit(): there is no outbox. Import OutboxModule.forRoot({ sinks }) of ' +
          'nestjs-idempotency/outbox in the root module.',
      );
    }
    // counted in any case, so that the ids of the others do not depend on it
    const id = this.derive(this.progress.nextMessage(String(pattern)));
    return this.outgoing.emit(pattern, payload, { ...options, id: options.id ?? id });
  }

  get isOver(): boolean {
    return this.finished;
  }

  /** @throws IdempotencyError when nothing may be begun on behalf of this attempt any more. */
  checkRunning(): void {
    if (this.finished) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        'A step or an effect was begun when its attempt was over. Await it before the handler returns.',
      );
    }
    if (performance.now() - this.confirmedAt > this.leaseMs) {
      this.lose('The lease could not be renewed in time.');
    }
    if (this.lost !== undefined) {
      throw attemptLost();
    }
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
      this.onLost(this.lost);
    }
  }
}
