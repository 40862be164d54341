import assert from 'node:assert/strict';
import type { ClaimRequest, ClaimResult } from '../../engine/store.js';
import { MINUTE, bytes, plain, randomId, times } from './bench.js';
import type { Bench, ContractCase } from './bench.js';

export function raceCases(test: ContractCase): void {
  const free: [string, (bench: Bench) => Promise<string>, number, boolean][] = [
    ['an absent record', async () => randomId(), 1, false],
    ['an abandoned claim', async (bench) => (await bench.abandoned()).id, 2, true],
    ['an expired outcome', expiredId, 1, false],
    ['a released record', async (bench) => (await bench.released()).id, 2, false],
    ['a record resolved as absent', resolvedId, 2, false],
  ];
  for (const [what, arrange, attempt, takenOver] of free) {
    test(`of 50 claims at once for ${what} exactly one wins`, async (bench) => {
      const id = await arrange(bench);
      const requests = times(50, () => bench.request({ id }));
      const { winner, won } = await race(bench, requests);
      assert.equal(won.takenOver, takenOver);
      assert.ok(won.attempt <= attempt);
      const record = await bench.live(id);
      assert.deepEqual([record.owner, record.fence], [winner.owner, won.fence]);
      assert.equal(record.attemptsStarted, won.attempt);
      await bench.complete(winner, bytes('once'));
    });
  }

  test('claims for many records at once: each has one winner and a fence of its own', async (bench) => {
    const ids = times(10, randomId);
    const races = await Promise.all(
      ids.map((id) =>
        race(
          bench,
          times(5, () => bench.request({ id })),
        ),
      ),
    );
    assert.equal(new Set(races.map(({ won }) => won.fence)).size, ids.length);
  });

  test('claims that race with a release: one winner at most, and it owns the record', async (bench) => {
    for (const owner of await Promise.all(times(10, () => bench.claim()))) {
      const requests = times(5, () => bench.request({ id: owner.id }));
      const [released, ...answers] = await Promise.all([
        bench.store.release(owner),
        ...requests.map((request) => bench.store.claim(request)),
      ]);
      assert.deepEqual(released, { applied: true });
      const winners = requests.filter((_, n) => answers[n]?.type === 'claimed');
      assert.ok(winners.length <= 1);
      const record = await bench.store.find(owner.id);
      assert.equal(record?.owner, winners[0]?.owner);
    }
  });

  test('claims that race with a completion are all held off', async (bench) => {
    const owner = await bench.claim();
    const requests = times(20, () => bench.request({ id: owner.id }));
    const [, ...answers] = await Promise.all([
      bench.complete(owner, bytes('done')),
      ...requests.map((request) => bench.store.claim(request)),
    ]);
    for (const answer of answers) assert.equal(answer.type, 'held');
    assert.deepEqual((await bench.live(owner.id)).result, bytes('done'));
  });

  test('a late owner that races with a takeover never records its outcome', async (bench) => {
    for (const late of await Promise.all(times(10, () => bench.abandoned()))) {
      const { id, owner } = late;
      const [settled, renewed, taken] = await Promise.all([
        bench.store.complete({ id, owner, result: bytes('late'), ttlMs: MINUTE }),
        bench.store.renew([late], MINUTE),
        bench.claim({ id }),
      ]);
      assert.equal(settled.applied, false);
      assert.equal(renewed.size, 0);
      assert.equal(taken.takenOver, true);
      assert.equal((await bench.live(id)).owner, taken.owner);
    }
  });

  test('of an owner’s complete and release at once one is applied', async (bench) => {
    for (const claim of await Promise.all(times(10, () => bench.claim()))) {
      const { id, owner } = claim;
      const [completed, released] = await Promise.all([
        bench.store.complete({ id, owner, result: bytes('x'), ttlMs: MINUTE }),
        bench.store.release(claim),
      ]);
      assert.notEqual(completed.applied, released.applied);
      assert.equal((await bench.store.find(id)) !== null, completed.applied);
    }
  });

  test('of many strangers’ completions and the owner’s only the owner’s is applied', async (bench) => {
    const claim = await bench.claim();
    const requests = times(30, (n) => ({
      id: claim.id,
      owner: n === 15 ? claim.owner : randomId(),
      result: bytes(String(n)),
      ttlMs: MINUTE,
    }));
    const answers = await Promise.all(requests.map((request) => bench.store.complete(request)));
    assert.deepEqual(
      answers.flatMap(({ applied }, n) => (applied ? [n] : [])),
      [15],
    );
    assert.deepEqual((await bench.live(claim.id)).result, bytes('15'));
  });

  test('claims that race with forgetting have at most one winner', async (bench) => {
    const { id } = await bench.completed();
    const requests = times(10, () => bench.request({ id }));
    const [, ...answers] = await Promise.all([
      bench.store.forget(id),
      ...requests.map((request) => bench.store.claim(request)),
    ]);
    assert.ok(answers.filter(({ type }) => type === 'claimed').length <= 1);
  });
}

type Won = Extract<ClaimResult, { type: 'claimed' }>;

/** Sends the claims at once; fails unless one wins and every other is told the winner. */
async function race(
  bench: Bench,
  requests: ClaimRequest[],
): Promise<{ winner: ClaimRequest; won: Won }> {
  const answers = await Promise.all(requests.map((request) => bench.store.claim(request)));
  const claimed = answers.flatMap((answer) => (answer.type === 'claimed' ? [answer] : []));
  assert.equal(claimed.length, 1, `${claimed.length} winners`);
  const winner = requests[answers.findIndex(({ type }) => type === 'claimed')];
  const [won] = claimed;
  assert.ok(winner && won);
  for (const answer of answers) {
    if (answer.type === 'claimed') continue;
    const { owner, fence, fingerprint } = plain(answer.record);
    assert.deepEqual([owner, fence], [winner.owner, won.fence]);
    assert.deepEqual(fingerprint, new Uint8Array(winner.fingerprint));
  }
  return { winner, won };
}

async function expiredId(bench: Bench): Promise<string> {
  const { id } = await bench.completed(bytes('x'), bench.brief);
  await bench.wait(bench.brief);
  return id;
}

async function resolvedId(bench: Bench): Promise<string> {
  const { id } = await bench.uncertain();
  await bench.store.resolve(id, 'absent');
  return id;
}
