import { decodeFailure, type LastFailure } from './engine/last-failure.js';
import type { RecordState, StoredRecord } from './engine/store.js';

/** A record as people see it. */
export interface IdempotencyRecordView {
  readonly id: string;
  readonly key: string | null;
  readonly scope: string | null;
  readonly operation: string | null;
  readonly state: RecordState;
  readonly attemptsStarted: number;
  readonly attemptsFinished: number;
  /** In decimal digits: it may be larger than a JSON number can say. */
  readonly fence: string;
  readonly claimedAt: Date;
  readonly leaseUntil: Date | null;
  readonly expiresAt: Date | null;
  /**
   * Why a parked operation failed the last time: name and message (its first 1,000 characters) of what the application
   * threw. `null` in every other state, and when its last attempts died without saying why.
   */
  readonly lastError: LastFailure | null;
}

export function recordView(record: StoredRecord): IdempotencyRecordView {
  const { fingerprint: _fingerprint, owner: _owner, result: _result, ...rest } = record;
  return {
    ...rest,
    lastError: (record.state === 'parked' && decodeFailure(record.result)) || null,
    fence: String(record.fence),
    claimedAt: new Date(record.claimedAt),
    leaseUntil: record.leaseUntil === null ? null : new Date(record.leaseUntil),
    expiresAt: record.expiresAt === null ? null : new Date(record.expiresAt),
  };
}
