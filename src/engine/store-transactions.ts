import type { Claim, ClaimRequest, ClaimResult, CompleteRequest } from './records.js';

export interface BeginRequest extends ClaimRequest {
  /**
   * The claim is committed with its lease before the transaction begins: its start counts also when the transaction
   * is undone or its owner dies, and its owner settles it then. Means nothing inside of another transaction.
   *
   * @default false
   */
  readonly keepStart?: boolean;
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
