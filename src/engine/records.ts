/** What a store is asked and what it answers. The words (live, dead, now) are those of `store.ts`. */
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
