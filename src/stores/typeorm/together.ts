import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  SettleResult,
  StoredRecord,
} from '../../engine/store.js';
import type { Dialect } from './dialects/dialect.js';

/** Answers for each of the claims, in the order given; `undefined` for what has to be claimed by itself. */
export async function claimTogether(
  db: Dialect,
  requests: readonly ClaimRequest[],
  atOnce: boolean,
): Promise<(ClaimResult | undefined)[]> {
  const firsts = firstOfEach(requests);
  const found = await db.claimFree(sorted([...firsts.values()]), atOnce);
  return requests.map((request) => {
    const answer = found.get(request.id);
    const isAnswered = firsts.get(request.id) === request || isHeldByOther(answer, request);
    return isAnswered ? answer : undefined;
  });
}

/** As `claimTogether`. */
export async function completeTogether(
  db: Dialect,
  requests: readonly CompleteRequest[],
  atOnce: boolean,
): Promise<(SettleResult | undefined)[]> {
  const firsts = firstOfEach(requests);
  const applied = await db.completeAll(sorted([...firsts.values()]), atOnce);
  return requests.map((request) => {
    const isApplied = firsts.get(request.id) === request && applied.has(request.owner);
    return isApplied ? { applied: true } : undefined;
  });
}

export async function findTogether(
  db: Dialect,
  looks: readonly Pick<Claim, 'id'>[],
): Promise<(StoredRecord | null)[]> {
  const found = await db.findAll([...new Set(looks.map(({ id }) => id))]);
  return looks.map(({ id }) => found.get(id) ?? null);
}

function firstOfEach<T extends Claim>(claims: readonly T[]): Map<string, T> {
  return new Map(claims.toReversed().map((claim) => [claim.id, claim]));
}

function isHeldByOther(answer: ClaimResult | undefined, { owner }: Claim): boolean {
  return answer?.type === 'held' && answer.record.owner !== owner;
}

/** In one order everywhere, so that two calls do not lock each other out. */
export function sorted<T extends Claim>(claims: readonly T[]): T[] {
  return claims.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
