import { RECORD_STATES, type RecordState, type StoredRecord } from '../../engine/store.js';

export function stateCode(state: RecordState): number {
  return RECORD_STATES.indexOf(state);
}

export function stateName(code: unknown): RecordState {
  const state = RECORD_STATES[Number(code)];
  if (!state) throw new Error(`unknown record state ${String(code)}`);
  return state;
}

/**
 * The lease of a released row: over, and told apart from one that ran out, because a released
 * attempt is settled.
 */
export const RELEASED = 0;

/** Is the row dead, given a SQL expression for now? Alias-free: column names are unambiguous. */
export function isDeadSql(now: string): string {
  return `((state = 0 AND lease_until <= ${now}) OR (state IN (1, 3) AND expires_at <= ${now}))`;
}

/**
 * May cleanup delete the row? `sweep_at` is set once, so that its index never changes; `expires_at`
 * moves along with every claim and outcome, and decides.
 */
export function isDueSql(now: string): string {
  return `sweep_at <= ${now} AND expires_at <= ${now} AND ${isDeadSql(now)}`;
}

export function isLiveSql(now: string): string {
  return (
    `((state = 0 AND lease_until > ${now}) OR (state IN (1, 3) AND expires_at > ${now})` +
    ` OR state IN (2, 4))`
  );
}

/** In progress, owned and live. Parameters: id, owner. */
export function isOwnedSql(now: string): string {
  return `id = ? AND owner = ? AND ${isInProgressSql(now)}`;
}

/** An attempt whose effect has started keeps its lease in the state that it will leave behind. */
export function isInProgressSql(now: string): string {
  return `state IN (0, 2) AND lease_until > ${now}`;
}

/**
 * The guard of a settling write by the owner: in progress and live; or uncertain only because its lease ran out,
 * and its owner knows more.
 */
export function isToSettleSql(now: string, prefix = ''): string {
  return (
    `((${prefix}state = 0 AND ${prefix}lease_until > ${now}) ` +
    `OR (${prefix}state = 2 AND ${prefix}lease_until IS NOT NULL))`
  );
}

/** Uncertain or parked, and nobody is at it. */
export function isWaitingSql(now: string): string {
  return `((state = 2 AND (lease_until IS NULL OR lease_until <= ${now})) OR state = 4)`;
}

/** A verdict of `'absent'`. The attempts of a parked row begin anew; the counts come before the state they look at. */
export const ABSENT_SQL =
  `attempts_started = CASE WHEN state = 4 THEN 0 ELSE attempts_started END, ` +
  `attempts_finished = CASE WHEN state = 4 THEN 0 ELSE attempts_finished END, ` +
  `result = NULL, lease_until = ${RELEASED}, state = 0`;

/** The state as the contract knows it. */
export function stateSql(now: string, prefix = ''): string {
  return `CASE WHEN ${prefix}state = 2 AND ${prefix}lease_until > ${now} THEN 0 ELSE ${prefix}state END`;
}

/** Taking over a dead row: attempts go on counting, and steps are kept, unless it held an outcome. */
export const NEXT_ATTEMPT_SQL =
  `attempts_started = CASE WHEN state = 0 THEN attempts_started + 1 ELSE 1 END, ` +
  `attempts_finished = CASE WHEN state = 0 THEN attempts_finished ELSE 0 END, ` +
  `steps = CASE WHEN state = 0 THEN steps ELSE NULL END`;

/** The state that a claim begins in. */
export function claimState({ effectStarted }: { readonly effectStarted?: boolean }): number {
  return stateCode(effectStarted === true ? 'uncertain' : 'in-progress');
}

/** How one database turns its 16-byte columns and its 64-bit fence into text. */
export interface Readers {
  hex(column: string): string;
  text(column: string): string;
}

/** A select list that {@link toRecord} can read on every database. */
export function selectList(
  { hex, text }: Readers,
  now: string,
  { withResult = true, prefix = '' }: { withResult?: boolean; prefix?: string } = {},
): string {
  const column = (name: string): string => prefix + name;
  return [
    `${hex(column('id'))} AS id`,
    column('scope'),
    column('operation'),
    column('idempotency_key'),
    column('fingerprint'),
    `${stateSql(now, prefix)} AS state`,
    `${hex(column('owner'))} AS owner`,
    // Never through a JavaScript number: those are exact only up to 2^53.
    `${text(column('fence'))} AS fence`,
    column('attempts_started'),
    column('attempts_finished'),
    column('claimed_at'),
    column('lease_until'),
    column('expires_at'),
    ...(withResult
      ? [column('result'), column('steps')]
      : [`CASE WHEN ${column('state')} = 4 THEN ${column('result')} END AS result`]),
  ].join(', ');
}

/** A row as drivers give it: 64-bit integers may be a number, a bigint or text. */
export type Row = Readonly<Record<string, unknown>>;

export function toRecord(row: Row): StoredRecord {
  const state = stateName(row.state);
  const hasOutcome = state === 'completed' || state === 'tombstone';
  return {
    id: row.id as string,
    state,
    fingerprint: toBytes(row.fingerprint)!,
    owner: row.owner as string,
    fence: BigInt(row.fence as string),
    attemptsStarted: Number(row.attempts_started),
    attemptsFinished: Number(row.attempts_finished),
    scope: row.scope as string | null,
    operation: row.operation as string | null,
    key: row.idempotency_key as string | null,
    claimedAt: Number(row.claimed_at),
    leaseUntil: state === 'in-progress' ? toTime(row.lease_until) : null,
    expiresAt: hasOutcome ? toTime(row.expires_at) : null,
    result: toBytes(row.result),
  };
}

export function isLive(record: StoredRecord, now: number): boolean {
  const isWaiting = record.state === 'uncertain' || record.state === 'parked';
  return isWaiting || (record.leaseUntil ?? record.expiresAt ?? 0) > now;
}

/** Dead without anybody having said how it ended. */
export function isUnsettled(record: StoredRecord): boolean {
  return record.state === 'in-progress' && record.leaseUntil !== RELEASED;
}

/** A copy: the driver's buffer may be a slice of a much larger one that it would keep alive. */
export function toBytes(value: unknown): Uint8Array | null {
  return value === null ? null : new Uint8Array(value as Uint8Array);
}

function toTime(value: unknown): number | null {
  return value === null ? null : Number(value);
}
