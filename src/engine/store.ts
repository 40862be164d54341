/**
 * The store contract: data access only. The rules (who may claim, when a lease is over, what a
 * mismatch is) are stated here and proven for every store by one contract suite
 * (`describeIdempotencyStore` in `nestjs-idempotency/testing`).
 *
 * Words used below. *Now* is always the store's own clock. A record is *live* when it is
 * - `in-progress` and its lease ends after now, or
 * - `completed` or `tombstone` and it expires after now, or
 * - `uncertain` or `parked` (it waits for somebody and never expires by itself).
 * Every other row is *dead*, and a dead row is the same thing to every operation as no row at all,
 * whether cleanup has removed it or not. An in-progress record whose effect was declared (by
 * `startEffect`, or by its claim) does not die with its lease: it becomes `uncertain` at that moment.
 */
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  CountFilter,
  ListFilter,
  SettleResult,
  StoredRecord,
  Upkeep,
} from './records.js';
import type { StoreTransactions } from './store-transactions.js';

export * from './records.js';
export type * from './store-transactions.js';

export interface IdempotencyStore {
  /** For people: `memory`, `postgres`, `mariadb`, … */
  readonly name: string;

  /**
   * Called once when the application starts, before the first claim. Checks that the store can
   * work (reachable, schema present) and throws an error that says what to do when it can not.
   */
  init(): Promise<void>;

  /** What `init()` found that should be known before the store is relied on, if anything: sentences for the log. */
  readonly warnings?: readonly string[];

  /**
   * Makes the caller the owner of the record, or tells who is.
   *
   * - Of any number of concurrent claims for an absent or dead record, from any number of
   *   processes and at any isolation level, exactly one answers `claimed`.
   * - A dead row is taken over: new owner, fingerprint, lease and a higher fence, no result.
   *   `attemptsStarted` goes on counting, and `steps` are kept, over failed and unsettled attempts;
   *   after an expired outcome the count starts at 1 again, without steps.
   * - A live record answers `held` and is not written to, not locked, not prolonged.
   * - The same claim sent again by its live owner (its reply was lost) answers `claimed` again.
   */
  claim(request: ClaimRequest): Promise<ClaimResult>;

  /**
   * `claim` for each, answered in the order asked: as if they were sent one after the other, but in few round trips
   * where the keys are free or have outcomes. Two calls at once never lock each other out. When this throws, any of
   * them may have been made.
   */
  claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]>;

  /**
   * Sets `leaseUntil` to now plus `leaseMs` for each claim that is still in progress, owned and live.
   * One statement for all. Answers the owners of the renewed ones.
   */
  renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>>;

  /**
   * In progress, owned and live: becomes `completed` (or `tombstone`), expires `ttlMs` from now, counts
   * a finished attempt, drops the steps. Sent again by the owner after it was applied, it is applied again.
   */
  complete(request: CompleteRequest): Promise<SettleResult>;

  /** `complete` for each, answered in the order asked, in one statement where every one is applied. */
  completeMany(requests: readonly CompleteRequest[]): Promise<readonly SettleResult[]>;

  /**
   * In progress, owned and live: becomes dead at once, so that the next claim wins. The row may stay
   * behind to count the finished attempt. `counted` false: it counts as an attempt that was never started.
   *
   * @param counted default: true
   */
  release(claim: Claim, counted?: boolean): Promise<SettleResult>;

  /**
   * In progress, owned and live: becomes `parked`, which nothing ends but `resolve` and `forget`, and counts a
   * finished attempt. Steps are kept, and `result`, which tells why.
   */
  park(claim: Claim, result: Uint8Array | null): Promise<SettleResult>;

  /** In progress, owned and live: becomes `uncertain`. */
  markUncertain(claim: Claim): Promise<SettleResult>;

  /**
   * In progress, owned and live: stays in progress, and becomes `uncertain` instead of dead if its lease
   * runs out. After that its owner may still `complete` or `release` it, as long as nobody resolved it.
   */
  startEffect(claim: Claim): Promise<SettleResult>;

  /** In progress, owned and live: keeps these bytes, in place of earlier ones, for the attempts to come. */
  keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult>;

  /**
   * `uncertain` or `parked` becomes `completed` with the given result (`null`: tombstone), or dead when `verdict`
   * is `'absent'`; the attempts of one that was parked then count from the beginning. Answers false, and changes nothing, in every other state, and when it is no longer the
   * attempt of `owner`, if that is given: a verdict on one attempt says nothing of the next.
   */
  resolve(
    id: string,
    verdict: 'absent' | { readonly result: Uint8Array | null; readonly ttlMs: number },
    owner?: string,
  ): Promise<boolean>;

  /** The live record, or `null`. */
  find(id: string): Promise<StoredRecord | null>;

  /** What attempts of a live record have kept with `keepSteps`, or `null`. */
  findSteps(id: string): Promise<Uint8Array | null>;

  /**
   * Live records, without their results (`result` is `null`), except of parked ones. In an order that is always the
   * same, so that pages hold every record once.
   */
  list(filter: ListFilter): Promise<readonly StoredRecord[]>;

  /**
   * How many of these there are, or `upTo` where there are more. It may read every record, unless the store has an
   * index for what is asked.
   */
  countRecords(filter: CountFilter, upTo: number): Promise<number>;

  /** What should be known before records are counted by scope often, if anything: a sentence for the log. */
  scopeWarning?(): Promise<string | undefined>;

  /**
   * Removes a record whatever its state, except a live claim: a running attempt is never pulled away.
   * True when a live record was removed.
   */
  forget(id: string): Promise<boolean>;

  /**
   * Deletes up to `limit` dead rows whose time is over: outcomes past their expiry, and unsettled
   * claims whose lease is over and that are older than the `ttlMs` of their claim. Never a live record. Rows that
   * `maintain` is about to delete with many others may be left to it for a while.
   * Does nothing (0) while another instance is at it. Answers how many rows it deleted.
   */
  deleteExpired(limit: number): Promise<number>;

  /**
   * Called at the beginning of each turn of clean-up, where there is something to prepare for records to come, or
   * where records can be deleted many at a time: never one that `deleteExpired` would not delete. One instance at a
   * time, and nobody waits for it for long.
   */
  maintain?(): Promise<Upkeep>;

  /** Answers the store's clock, epoch milliseconds. Throws when the store can not answer. */
  ping(): Promise<number>;

  /**
   * Throws when the store can not answer, or, as `init` does, when it can not work, for example because its schema is
   * gone. Absent where a store that answers can work.
   */
  check?(): Promise<void>;

  /** Present where the effects of an operation can be committed together with its record. */
  readonly transactions?: StoreTransactions;
}
