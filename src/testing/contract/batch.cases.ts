import assert from 'node:assert/strict';
import type { ClaimRequest } from '../../engine/store.js';
import { MINUTE, bytes, plain, randomId, times } from './bench.js';
import type { Bench, ContractCase } from './bench.js';

export function batchCases(test: ContractCase): void {
  test('claimMany claims every free record, in the order asked', async (bench) => {
    const requests = times(20, (n) => bench.request({ key: `key ${n}`, ttlMs: MINUTE * (n + 1) }));
    const answers = await bench.store.claimMany(requests);
    assert.equal(answers.length, requests.length);
    const fences = new Set<bigint>();
    for (const [n, request] of requests.entries()) {
      const answer = answers[n];
      assert.ok(answer?.type === 'claimed');
      assert.deepEqual([answer.attempt, answer.takenOver, answer.steps], [1, false, null]);
      const record = await bench.live(request.id);
      assert.deepEqual([record.owner, record.key], [request.owner, `key ${n}`]);
      assert.deepEqual(record.fingerprint, new Uint8Array(request.fingerprint));
      assert.equal(record.fence, answer.fence);
      bench.sameMoment(record.leaseUntil, answer.now + request.leaseMs);
      fences.add(answer.fence);
    }
    assert.equal(fences.size, requests.length, 'no two claims have the same fence');
    const next = await bench.claim();
    assert.ok([...fences].every((fence) => next.fence > fence));
  });

  test('claimMany answers for each record what claim would', async (bench) => {
    const completed = await bench.completed(bytes('kept'));
    const running = await bench.claim();
    const dead = await bench.abandoned();
    const released = await bench.released();
    const parked = await bench.parked();
    const before = await bench.live(completed.id);
    const ids = [completed.id, running.id, dead.id, released.id, randomId(), parked.id];
    const answers = await bench.store.claimMany(ids.map((id) => bench.request({ id })));
    const told = Array.from(answers, (answer) =>
      answer.type === 'claimed' ? [answer.attempt, answer.takenOver] : answer.record.state,
    );
    assert.deepEqual(told, [
      'completed',
      'in-progress',
      [2, true],
      [2, false],
      [1, false],
      'parked',
    ]);
    const [first] = answers;
    assert.ok(first?.type === 'held');
    assert.deepEqual(plain(first.record), before);
    assert.deepEqual(await bench.live(completed.id), before);
  });

  test('claimMany holds off the second of two with one id', async (bench) => {
    const [one, other] = [bench.request(), bench.request()];
    const again = bench.request({ id: one.id });
    const answers = await bench.store.claimMany([one, other, again]);
    assert.deepEqual(
      Array.from(answers, ({ type }) => type),
      ['claimed', 'claimed', 'held'],
    );
    assert.equal((await bench.live(one.id)).owner, one.owner);
  });

  test('claimMany sent again by its live owner answers claimed again', async (bench) => {
    const requests = times(5, () => bench.request());
    const first = await bench.store.claimMany(requests);
    const again = await bench.store.claimMany(requests);
    const fences = (answers: typeof first) =>
      Array.from(answers, (answer) => (answer.type === 'claimed' ? answer.fence : undefined));
    assert.deepEqual(fences(again), fences(first));
  });

  test('claimMany and completeMany of nothing answer nothing', async ({ store }) => {
    assert.equal((await store.claimMany([])).length, 0);
    assert.equal((await store.completeMany([])).length, 0);
  });

  test('of many batches at once for the same records, in any order, one wins each', async (bench) => {
    const ids = times(30, randomId);
    const orders = [ids, ids.toReversed(), [...ids.slice(15), ...ids.slice(0, 15)]];
    const batches = times(9, (n) => orders[n % 3]!.map((id) => bench.request({ id })));
    const answers = await Promise.all(batches.map((batch) => bench.store.claimMany(batch)));
    const winners = new Map<string, ClaimRequest[]>();
    for (const [n, batch] of batches.entries()) {
      for (const [m, request] of batch.entries()) {
        if (answers[n]?.[m]?.type !== 'claimed') continue;
        winners.set(request.id, [...(winners.get(request.id) ?? []), request]);
      }
    }
    for (const id of ids) {
      const won = winners.get(id) ?? [];
      assert.equal(won.length, 1);
      assert.equal((await bench.live(id)).owner, won[0]?.owner);
    }
  });

  test('completeMany completes every claim with its own outcome', async (bench) => {
    const claims = await claimedMany(bench, 10);
    const outcomes = claims.map(({ id, owner }, n) => ({
      id,
      owner,
      result: n % 3 === 0 ? null : bytes(`result ${n}`),
      ttlMs: MINUTE * (n + 1),
    }));
    const answers = await bench.store.completeMany(outcomes);
    assert.ok(Array.from(answers).every(({ applied }) => applied));
    for (const { id, result, ttlMs } of outcomes) {
      const record = await bench.live(id);
      assert.deepEqual(record.result, result);
      assert.equal(record.state, result === null ? 'tombstone' : 'completed');
      assert.deepEqual([record.leaseUntil, record.attemptsFinished], [null, 1]);
      bench.sameMoment(record.expiresAt, (await bench.store.ping()) + ttlMs);
    }
    const again = await bench.store.completeMany(outcomes);
    assert.ok(
      Array.from(again).every(({ applied }) => applied),
      'sent again it is applied again',
    );
    assert.equal((await bench.live(claims[1]!.id)).attemptsFinished, 1);
  });

  test('completeMany tells which claims were lost, and completes the others', async (bench) => {
    const [mine, lost] = [await bench.claim(), await bench.abandoned()];
    const winner = await bench.claim({ id: lost.id });
    const outcome = ({ id, owner }: typeof mine) => ({
      id,
      owner,
      result: bytes('x'),
      ttlMs: MINUTE,
    });
    const answers = await bench.store.completeMany([outcome(lost), outcome(mine)]);
    const [first, second] = answers;
    assert.ok(first && !first.applied && first.record?.owner === winner.owner);
    assert.deepEqual(second, { applied: true });
    assert.equal((await bench.live(mine.id)).state, 'completed');
    assert.equal((await bench.live(lost.id)).state, 'in-progress');
  });

  test('completeMany drops steps, and hears the owner of a lapsed effect', async (bench) => {
    const claim = await bench.effective();
    await bench.keep(claim, bytes('steps'));
    await bench.lapse(claim);
    const { id, owner } = claim;
    const answers = await bench.store.completeMany([
      { id, owner, result: bytes('x'), ttlMs: bench.brief },
    ]);
    assert.deepEqual(Array.from(answers), [{ applied: true }]);
    await bench.wait(bench.brief);
    assert.equal((await bench.claim({ id })).steps, null);
  });
}

async function claimedMany(bench: Bench, count: number): Promise<ClaimRequest[]> {
  const requests = times(count, () => bench.request());
  const answers = await bench.store.claimMany(requests);
  assert.ok(Array.from(answers).every(({ type }) => type === 'claimed'));
  return requests;
}
