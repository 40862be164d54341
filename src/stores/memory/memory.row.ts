import type {
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  RecordState,
  StoredRecord,
} from '../../engine/store.js';

export interface Row {
  readonly id: string;
  readonly owner: string;
  readonly fingerprint: Uint8Array;
  readonly fence: bigint;
  readonly scope: string | null;
  readonly operation: string | null;
  readonly key: string | null;
  readonly takenOver: boolean;
  readonly claimedAt: number;
  /** Until then an unsettled row is kept, to tell the next claim that it takes over. */
  readonly keepUntil: number;
  /** A released row is dead; it stays behind to count its attempts and to keep their steps. */
  state: RecordState | 'released';
  /** Its lease, once over, leaves it uncertain. */
  effectStarted: boolean;
  steps: Uint8Array | null;
  started: number;
  finished: number;
  leaseUntil: number | null;
  expiresAt: number | null;
  result: Uint8Array | null;
}

export type LiveRow = Row & { state: RecordState };

/** The row of a new claim. It goes on with the attempts and steps of a dead one without an outcome. */
export function newRow(
  request: ClaimRequest,
  dead: Row | undefined,
  fence: bigint,
  now: number,
): Row {
  const unsettled = dead?.state === 'in-progress';
  const before = unsettled || dead?.state === 'released' ? dead : undefined;
  return {
    id: request.id,
    owner: request.owner,
    fingerprint: copy(request.fingerprint),
    fence,
    scope: request.scope,
    operation: request.operation,
    key: request.key,
    started: (before?.started ?? 0) + 1,
    takenOver: unsettled,
    claimedAt: now,
    keepUntil: now + request.ttlMs,
    state: 'in-progress',
    effectStarted: request.effectStarted === true,
    steps: before?.steps ?? null,
    finished: before?.finished ?? 0,
    leaseUntil: now + request.leaseMs,
    expiresAt: null,
    result: null,
  };
}

/** A row that is dead from now on, and stays to count its attempts and to keep their steps. */
export function discard(row: Row): void {
  row.state = 'released';
  row.leaseUntil = null;
}

export function isLapsed(row: Row, now: number): boolean {
  return row.state === 'in-progress' && row.effectStarted && (row.leaseUntil ?? now) <= now;
}

export function isLive(row: Row, now: number): row is LiveRow {
  if (row.state === 'uncertain' || row.state === 'parked' || isLapsed(row, now)) return true;
  return (row.leaseUntil ?? row.expiresAt ?? now) > now;
}

/** Another outcome under the same owner is a verdict given by `resolve`, and that one stands. */
export function isOutcomeOf(row: Row, { owner, result }: CompleteRequest): boolean {
  if (row.owner !== owner || row.expiresAt === null) return false;
  if (!result || !row.result) return result === row.result;
  return Buffer.compare(result, row.result) === 0;
}

export function claimed(row: Row, now: number): ClaimResult {
  const { fence, started, takenOver, steps } = row;
  return { type: 'claimed', fence, attempt: started, takenOver, steps: steps && copy(steps), now };
}

export function toRecord(row: LiveRow): StoredRecord {
  return {
    id: row.id,
    state: row.state,
    fingerprint: copy(row.fingerprint),
    owner: row.owner,
    fence: row.fence,
    attemptsStarted: row.started,
    attemptsFinished: row.finished,
    scope: row.scope,
    operation: row.operation,
    key: row.key,
    claimedAt: row.claimedAt,
    leaseUntil: row.state === 'in-progress' ? row.leaseUntil : null,
    expiresAt: row.expiresAt,
    result: row.result && copy(row.result),
  };
}

/** Not `slice`: on a `Buffer` that shares the memory instead of copying it. */
export function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
