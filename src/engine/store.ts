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
export const RECORD_STATES = [
  'in-progress',
  'completed',
  'uncertain',
  'tombstone',
  'parked',
] as const;
export type RecordState = (typeof RECORD_STATES)[number];

/** Names one attempt's claim: 32 lower-case hex digits each (16 bytes). */
export interface Claim {
  /** The record: 2 bytes for the day of its key, if it has one, and 14 of a digest over namespace, scope, operation and key. */
  readonly id: string;
  /** A random token of this one attempt. Every write after the claim compares it. */
  readonly owner: string;
}

export interface ClaimRequest extends Claim {
  /** What a retry must repeat: a version byte and a digest (17 bytes today, 32 at most). */
  readonly fingerprint: Uint8Array;
  /** For people to read, never compared: masked or `null` where the application wants that. */
  readonly scope: string | null;
  readonly operation: string | null;
  readonly key: string | null;
  /** How long the claim is believed alive without a renewal, in milliseconds. */
  readonly leaseMs: number;
  /** How long the outcome will be kept after completion, in milliseconds. Hints cleanup only. */
  readonly ttlMs: number;
  /**
   * The effect counts as started from the claim on: if the owner dies, the record is `uncertain`.
   * @default false
   */
  readonly effectStarted?: boolean;
}

/** The live record that a claim, a settling write or a look-up met. */
export interface StoredRecord {
  readonly id: string;
  readonly state: RecordState;
  readonly fingerprint: Uint8Array;
  readonly owner: string;
  /** Rises with every claim in the whole store, also after cleanup removed the row. */
  readonly fence: bigint;
  readonly attemptsStarted: number;
  readonly attemptsFinished: number;
  readonly scope: string | null;
  readonly operation: string | null;
  readonly key: string | null;
  /** Epoch milliseconds of the store's clock. */
  readonly claimedAt: number;
  /** Epoch milliseconds; `null` unless in progress. */
  readonly leaseUntil: number | null;
  /** Epoch milliseconds; `null` while in progress, uncertain or parked. */
  readonly expiresAt: number | null;
  /** The bytes given to `complete`, or to `park`, as they were; `null` in every other state. */
  readonly result: Uint8Array | null;
}

export type ClaimResult =
  | {
      readonly type: 'claimed';
      readonly fence: bigint;
      /** Runs of this record so far, this one included; 1 for a new key. */
      readonly attempt: number;
      /** True when a dead attempt of the same record, never settled, was taken over. */
      readonly takenOver: boolean;
      /** What earlier attempts of this record kept with `keepSteps`, byte for byte, or `null`. */
      readonly steps: Uint8Array | null;
      /** The store's clock, epoch milliseconds. */
      readonly now: number;
    }
  | { readonly type: 'held'; readonly record: StoredRecord; readonly now: number };

/** `applied: false`: the caller no longer owns the claim and nothing was changed. */
export type SettleResult =
  { readonly applied: true } | { readonly applied: false; readonly record: StoredRecord | null };

export interface CompleteRequest extends Claim {
  /** The outcome, or `null` for a tombstone: done, never to be repeated, body not kept. */
  readonly result: Uint8Array | null;
  /** From now, in milliseconds. */
  readonly ttlMs: number;
}

export interface ListFilter {
  readonly state?: RecordState;
  readonly scope?: string;
  /** Records per page, 1 to 1,000. */
  readonly limit: number;
  /** The `id` of the last record of the page before. */
  readonly after?: string;
}

export interface CountFilter {
  /**
   * `'expired'`: dead rows that `deleteExpired` would delete now.
   * @default every live record
   */
  readonly state?: RecordState | 'expired';
  readonly scope?: string;
}

export interface Upkeep {
  /** How many rows it deleted. */
  readonly deleted: number;
  /** What keeps it from its work until somebody does something about it: a sentence for the log. */
  readonly warning?: string;
}

export interface BeginRequest extends ClaimRequest {
  /**
   * The claim is committed with its lease before the transaction begins: its start counts also when the transaction
   * is undone or its owner dies, and its owner settles it then. Means nothing inside of another transaction.
   *
   * @default false
   */
  readonly keepStart?: boolean;
}

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

  /**
   * Throws when the store can not answer, or, as `init` does, when it can not work, for example because its schema is
   * gone. Answers the store's clock, epoch milliseconds.
   */
  ping(): Promise<number>;

  /** Present where the effects of an operation can be committed together with its record. */
  readonly transactions?: StoreTransactions;
}

/** How work left the transaction that it belongs to. */
export type Escape =
  /** It sent a query on another connection. */
  | 'outside'
  /** It had queries under way when it ended. */
  | 'unfinished'
  /** It sent a query after the transaction was over. */
  | 'late'
  /** It ended the transaction itself. */
  | 'ended';

export interface StoreTransactions {
  /** Whether the running code is inside of an open transaction of this store already. */
  isInside(): boolean;

  /** What should be known of the set-up before it is relied on, if anything: a sentence for the log. */
  readonly warning?: string;

  /**
   * Opens a transaction in which the caller owns the record, or tells who does.
   *
   * - What is written in it, the record included, is seen by nobody before `commit`, and is gone after
   *   `rollback`, or when its owner dies or falls silent for `leaseMs`.
   * - `busy`: somebody else has the record in an open transaction. Answered at once, holding nothing.
   * - A live claim of the same owner becomes part of the transaction without being counted again, and is after
   *   `rollback` what it was.
   * - Inside of an open transaction of this store it becomes a part of that one.
   * - If the work commits by itself, the record is left `uncertain`.
   *
   * `watch` is told of work that leaves the transaction, and may throw to forbid it.
   */
  begin(request: BeginRequest, watch: (escape: Escape) => void): Promise<BeginResult>;

  /**
   * Opens a transaction without a record, for one step of an operation that owns its record already. Its owner
   * is given up when it falls silent for `leaseMs`.
   */
  open(leaseMs: number, watch: (escape: Escape) => void): Promise<StoreTransaction>;
}

export type BeginResult =
  | (Extract<ClaimResult, { type: 'claimed' }> & { readonly transaction: StoreTransaction })
  | Extract<ClaimResult, { type: 'held' }>
  | { readonly type: 'busy' };

export interface StoreTransaction {
  /** How many statements the work has sent so far. */
  readonly statements: number;

  /** Runs `work` so that what it does in the store's database is part of the transaction. */
  run<T>(work: () => Promise<T>): Promise<T>;

  /**
   * No more work joins; then writes the outcome, as the last statement. Answers false when the work has
   * committed the transaction itself: then it is over, and its record uncertain. Throws when the transaction
   * has failed.
   */
  complete(request: CompleteRequest): Promise<boolean>;

  /**
   * No more work joins; then keeps the steps of the claim, as the last statement, if it is in progress, owned
   * and live. `left`: the work has ended the transaction itself, which is over. Throws when the transaction
   * has failed.
   */
  keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'>;

  /** Whether the work has committed the transaction itself. */
  readonly isLeft: boolean;

  /**
   * When this throws, the transaction was not committed if that was a refusal (`isRefusal`); otherwise it is not
   * known whether it was.
   */
  commit(): Promise<void>;

  /** Does nothing once it has ended. */
  rollback(): Promise<void>;

  /** Ends its connection, whatever state it is in. */
  abandon(): Promise<void>;

  /** Tells the database that the owner is alive, while its work is busy elsewhere. */
  keepAlive(): Promise<void>;

  /** Was the transaction given up because of others at the same time (serialization failure, deadlock)? */
  isConflict(error: unknown): boolean;

  /** Did the database itself refuse, and is still there? */
  isRefusal(error: unknown): boolean;
}
