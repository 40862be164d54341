import type { ClaimResult, RecordState, SettleResult, StoredRecord } from '../../engine/store.js';

/** A text of a reply; `null` where Lua answered `false`. */
type Text = Buffer | null;
type Shown = readonly [id: Buffer, state: Buffer, owner: Buffer, ...rest: Text[]];

export function claimResult(reply: unknown): ClaimResult {
  const [type, ...rest] = reply as [Buffer, ...unknown[]];
  if (String(type) === 'held') {
    const [record, now] = rest as [Shown, unknown];
    return { type: 'held', record: storedRecord(record), now: number(now) };
  }
  const [fence, started, took, steps, now] = rest as [Buffer, unknown, Buffer, Text, unknown];
  return {
    type: 'claimed',
    fence: BigInt(String(fence)),
    attempt: number(started),
    takenOver: took.length > 0,
    steps: bytes(steps),
    now: number(now),
  };
}

export function settleResult(reply: unknown): SettleResult {
  const [type, record] = reply as [Buffer, Shown?];
  if (String(type) === 'applied') return { applied: true };
  return { applied: false, record: record === undefined ? null : storedRecord(record) };
}

export function storedRecord(shown: unknown): StoredRecord {
  const [
    id,
    state,
    owner,
    fingerprint,
    fence,
    started,
    finished,
    scope,
    operation,
    key,
    claimed,
    lease,
    expires,
    result,
  ] = shown as Text[];
  return {
    id: String(id),
    state: String(state) as RecordState,
    owner: String(owner),
    fingerprint: bytes(fingerprint) ?? new Uint8Array(),
    fence: BigInt(String(fence)),
    attemptsStarted: number(started),
    attemptsFinished: number(finished),
    scope: text(scope),
    operation: text(operation),
    key: text(key),
    claimedAt: number(claimed),
    leaseUntil: lease ? number(lease) : null,
    expiresAt: expires ? number(expires) : null,
    result: bytes(result),
  };
}

/** Clients answer integers as numbers or texts, as they are set up. */
export function number(value: unknown): number {
  return Number(String(value));
}

function text(value: Text | undefined): string | null {
  return value ? String(value) : null;
}

/** A copy: the client's buffer may be a part of all that it has read. */
export function bytes(value: Text | undefined): Uint8Array | null {
  return value ? new Uint8Array(value) : null;
}
