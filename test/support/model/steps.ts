import assert from 'node:assert/strict';
import type { ClaimRequest, IdempotencyStore, SettleResult } from '../../../src/engine/store.js';
import type { ModelRow, StoreModel } from './store-model.js';

/** The store that a history runs against, its clock standing still between the steps. */
export interface RealStore {
  readonly store: IdempotencyStore;
  advance(ms: number): Promise<void>;
}

export async function claimAtOnce(
  model: StoreModel,
  { store }: RealStore,
  requests: ClaimRequest[],
): Promise<void> {
  const answers = await Promise.all(requests.map((one) => store.claim(one)));
  const winners = answers.flatMap((answer, n) => (answer.type === 'claimed' ? [n] : []));
  const { id } = requests[0]!;
  assert.equal(winners.length, model.live(id) ? 0 : 1, 'winners');
  for (const n of winners) {
    const answer = answers[n]!;
    if (answer.type === 'claimed') model.won(requests[n]!, answer);
  }
  for (const answer of answers) {
    if (answer.type === 'claimed') continue;
    assert.equal(answer.now, model.now);
    model.expectRecord(id, answer.record);
  }
}

export async function claimMany(
  model: StoreModel,
  { store }: RealStore,
  requests: ClaimRequest[],
): Promise<void> {
  const answers = await store.claimMany(requests);
  assert.equal(answers.length, requests.length);
  const won = requests.flatMap((request, n) => {
    const answer = answers[n]!;
    return answer.type === 'claimed' ? [{ request, answer }] : [];
  });
  won.sort((a, b) => (a.answer.fence < b.answer.fence ? -1 : 1));
  for (const { request, answer } of won) model.won(request, answer);
  for (const [n, { id }] of requests.entries()) {
    const answer = answers[n]!;
    if (answer.type === 'claimed') continue;
    assert.equal(answer.now, model.now);
    model.expectRecord(id, answer.record);
  }
}

export async function claimAgain(
  model: StoreModel,
  { store }: RealStore,
  sent: ClaimRequest,
): Promise<void> {
  const answer = await store.claim(sent);
  const row = model.live(sent.id);
  if (!row) {
    assert.equal(answer.type, 'claimed');
    if (answer.type === 'claimed') model.won(sent, answer);
  } else if (!model.owned(sent)) {
    assert.equal(answer.type, 'held');
    if (answer.type === 'held') model.expectRecord(sent.id, answer.record);
  } else {
    assert.equal(answer.type, 'claimed');
    if (answer.type !== 'claimed') return;
    const { fence, started, finished } = row;
    const { takenOver } = answer;
    assert.deepEqual(answer, {
      type: 'claimed',
      fence,
      attempt: started,
      takenOver,
      steps: row.steps,
      now: model.now,
    });
    // A store may have forgotten which attempt died; it must not hide that one did.
    assert.ok(takenOver === row.takenOver || (takenOver && started - finished > 1), 'takenOver');
  }
}

export async function complete(
  model: StoreModel,
  { store }: RealStore,
  { id, owner }: ClaimRequest,
  body: Uint8Array | null,
  ttlMs: number,
): Promise<void> {
  const answer = await store.complete({ id, owner, result: body, ttlMs });
  const row = model.settleable({ id, owner });
  const there = model.live(id);
  if (row) {
    assert.deepEqual(answer, { applied: true });
    row.finished += 1;
    model.keepOutcome(row, body, ttlMs);
  } else if (there && isOutcomeOf(there, owner, body)) {
    // Sent again. It prolongs nothing: the list after this step says so.
    assert.deepEqual(answer, { applied: true });
  } else {
    expectStale(model, id, answer);
  }
}

export async function release(
  model: StoreModel,
  { store }: RealStore,
  claim: ClaimRequest,
  counted?: boolean,
): Promise<void> {
  const answer = await store.release(claim, counted);
  const row = model.settleable(claim);
  if (!row) return expectStale(model, claim.id, answer);
  assert.deepEqual(answer, { applied: true });
  if (counted === false) row.started -= 1;
  else row.finished += 1;
  model.discard(row);
}

export async function park(
  model: StoreModel,
  { store }: RealStore,
  claim: ClaimRequest,
  why: Uint8Array | null,
): Promise<void> {
  const answer = await store.park(claim, why);
  const row = model.settleable(claim);
  if (!row) return expectStale(model, claim.id, answer);
  assert.deepEqual(answer, { applied: true });
  row.finished += 1;
  model.park(row, why);
}

export async function markUncertain(
  model: StoreModel,
  { store }: RealStore,
  claim: ClaimRequest,
): Promise<void> {
  const answer = await store.markUncertain(claim);
  const row = model.settleable(claim);
  if (!row) return expectStale(model, claim.id, answer);
  assert.deepEqual(answer, { applied: true });
  row.state = 'uncertain';
  row.leaseUntil = null;
  row.lapsed = false;
}

export async function startEffect(
  model: StoreModel,
  { store }: RealStore,
  claim: ClaimRequest,
): Promise<void> {
  const answer = await store.startEffect(claim);
  const row = model.owned(claim);
  if (!row) return expectStale(model, claim.id, answer);
  assert.deepEqual(answer, { applied: true });
  row.effectStarted = true;
}

export async function keepSteps(
  model: StoreModel,
  { store }: RealStore,
  claim: ClaimRequest,
  steps: Uint8Array,
): Promise<void> {
  const answer = await store.keepSteps(claim, steps);
  const row = model.owned(claim);
  if (!row) return expectStale(model, claim.id, answer);
  assert.deepEqual(answer, { applied: true });
  row.steps = steps;
}

export async function resolve(
  model: StoreModel,
  { store }: RealStore,
  id: string,
  verdict: 'absent' | [Uint8Array | null, number],
): Promise<void> {
  const given = verdict === 'absent' ? verdict : { result: verdict[0], ttlMs: verdict[1] };
  const row = model.live(id);
  const waits = row?.state === 'uncertain' || row?.state === 'parked';
  assert.equal(await store.resolve(id, given), waits);
  if (!row || !waits) return;
  if (given === 'absent') model.redrive(row);
  else model.keepOutcome(row, given.result, given.ttlMs);
}

function isOutcomeOf(row: ModelRow, owner: string, result: Uint8Array | null): boolean {
  if (row.owner !== owner || row.expiresAt === null) return false;
  return String(row.result) === String(result);
}

function expectStale(model: StoreModel, id: string, answer: SettleResult): void {
  assert.equal(answer.applied, false, 'a stale owner’s write was applied');
  if (!answer.applied) model.expectRecord(id, answer.record);
}
