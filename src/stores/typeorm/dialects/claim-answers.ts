import type { Claim, ClaimRequest, ClaimResult } from '../../../engine/store.js';
import { isLive, toBytes, toRecord } from '../rows.js';
import type { Row } from '../rows.js';

type Claimed = Extract<ClaimResult, { type: 'claimed' }>;
export type Held = Extract<ClaimResult, { type: 'held' }>;

/** What a claim means to its sender, given the row as it is after the claim. */
export function answer(
  row: Row | undefined,
  request: ClaimRequest,
  takenOver?: boolean,
): ClaimResult | undefined {
  const held = heldBy(row);
  return row !== undefined && isOwn(held, request) ? claimedBy(row, takenOver) : held;
}

/** What the rows say to those who asked, after a claim that took nothing over. */
export function answers(
  rows: readonly Row[],
  requests: readonly ClaimRequest[],
  isFresh: (row: Row) => boolean,
): ReadonlyMap<string, ClaimResult> {
  const byId = new Map(rows.map((row) => [row.id as string, row]));
  const found = new Map<string, ClaimResult>();
  for (const request of requests) {
    const row = byId.get(request.id);
    const one = row && answer(row, request, isFresh(row) ? false : undefined);
    if (one) found.set(request.id, one);
  }
  return found;
}

export function claimedBy(row: Row, takenOver?: boolean): Claimed {
  const { fence, attemptsStarted, attemptsFinished } = toRecord(row);
  return {
    type: 'claimed',
    fence,
    attempt: attemptsStarted,
    // Of a claim sent again only the counts are known, and a doubt must not be hidden.
    takenOver: takenOver ?? attemptsStarted - attemptsFinished > 1,
    steps: toBytes(row.steps),
    now: Number(row.now),
  };
}

/** The live record of the row, as a claimer is told of it. */
export function heldBy(row: Row | undefined): Held | undefined {
  if (row === undefined) return undefined;
  const record = toRecord(row);
  const now = Number(row.now);
  return isLive(record, now) ? { type: 'held', record, now } : undefined;
}

export function isOwn(
  held: Held | undefined,
  { owner }: Pick<Claim, 'owner'>,
): held is Held & { readonly record: { readonly state: 'in-progress' } } {
  return held?.record.owner === owner && held.record.state === 'in-progress';
}

/** What became of a claim within a transaction; `undefined`: lost a race, begin again. */
export type ClaimWithin = Won | Held | 'busy' | undefined;

export interface Won {
  readonly type: 'won';
  readonly claimed: Claimed;
  /** By which the transaction is recognised at its end. */
  readonly mark: string;
}
