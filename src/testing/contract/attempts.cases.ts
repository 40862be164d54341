import assert from 'node:assert/strict';
import { MINUTE, TEN_YEARS, bytes, plain, randomId } from './bench.js';
import type { ContractCase } from './bench.js';

export function attemptsCases(test: ContractCase): void {
  test('park ends a claim without lease and expiry, counts it as finished, and keeps why', async (bench) => {
    const claim = await bench.claim();
    const before = await bench.live(claim.id);
    await bench.park(claim, bytes('why'));
    const changed = { state: 'parked', result: bytes('why'), leaseUntil: null } as const;
    assert.deepEqual(await bench.live(claim.id), { ...before, ...changed, attemptsFinished: 1 });
  });

  test('a parked record holds claims off, and tells why', async (bench) => {
    const { id } = await bench.parked();
    const record = await bench.unchanged(id, () => bench.held({ id }));
    assert.deepEqual([record.state, record.result], ['parked', bytes('why')]);
  });

  test('a record may be parked without saying why', async (bench) => {
    const { id } = await bench.parked(null);
    assert.equal((await bench.live(id)).result, null);
  });

  test('a parked record never expires by itself', async (bench) => {
    const claim = await bench.claim({ leaseMs: bench.aWhile, ttlMs: 1 });
    await bench.park(claim, bytes('why'));
    await bench.wait(bench.clockStandsStill ? TEN_YEARS : bench.aWhile);
    assert.equal(await bench.store.deleteExpired(10), 0);
    assert.equal((await bench.live(claim.id)).state, 'parked');
    await bench.held({ id: claim.id });
  });

  test('park goes on counting attempts', async (bench) => {
    const { id } = await bench.released();
    await bench.park(await bench.claim({ id }), null);
    const { attemptsStarted, attemptsFinished } = await bench.live(id);
    assert.deepEqual([attemptsStarted, attemptsFinished], [2, 2]);
  });

  test('park by its own owner after completing changes nothing', async (bench) => {
    const claim = await bench.completed();
    const answer = await bench.unchanged(claim.id, () => bench.store.park(claim, bytes('late')));
    assert.ok(!answer.applied && answer.record?.state === 'completed');
  });

  test('nobody settles, renews or notes anything on a parked record', async (bench) => {
    const claim = await bench.parked();
    const { id, owner } = claim;
    await bench.unchanged(id, async () => {
      assert.equal((await bench.store.renew([claim], MINUTE)).size, 0);
      for (const answer of [
        await bench.store.release(claim),
        await bench.store.park(claim, bytes('again')),
        await bench.store.markUncertain(claim),
        await bench.store.startEffect(claim),
        await bench.store.keepSteps(claim, bytes('late')),
        await bench.store.complete({ id, owner, result: bytes('late'), ttlMs: MINUTE }),
      ]) {
        assert.ok(!answer.applied && answer.record?.state === 'parked');
      }
    });
  });

  test('the owner of a lapsed effect may still park it', async (bench) => {
    const claim = await bench.lapsed();
    await bench.park(claim, bytes('why'));
    assert.equal((await bench.live(claim.id)).state, 'parked');
  });

  test('resolve as absent lets a parked record begin anew, behind its steps', async (bench) => {
    const { id } = await bench.released();
    const old = await bench.claim({ id });
    await bench.keep(old, bytes('steps'));
    await bench.park(old, bytes('why'));
    assert.equal(await bench.store.resolve(id, 'absent'), true);
    await bench.dead(id);
    const claim = await bench.claim({ id });
    assert.deepEqual([claim.attempt, claim.takenOver, claim.steps], [1, false, bytes('steps')]);
    assert.ok(claim.fence > old.fence);
    const { attemptsStarted, attemptsFinished, result } = await bench.live(id);
    assert.deepEqual([attemptsStarted, attemptsFinished, result], [1, 0, null]);
  });

  test('resolve as absent of an uncertain record goes on counting', async (bench) => {
    const { id } = await bench.uncertain();
    await bench.store.resolve(id, 'absent');
    assert.equal((await bench.claim({ id })).attempt, 2);
  });

  for (const [state, result] of [
    ['completed', bytes('found')],
    ['tombstone', null],
  ] as const) {
    test(`resolve ends a parked record as ${state}`, async (bench) => {
      const { id } = await bench.parked();
      assert.equal(await bench.store.resolve(id, { result, ttlMs: MINUTE }), true);
      const record = await bench.live(id);
      assert.deepEqual([record.state, record.result], [state, result]);
      assert.equal(await bench.store.resolve(id, 'absent'), false);
    });
  }

  test('a verdict on another attempt leaves a parked record alone', async (bench) => {
    const { id, owner } = await bench.parked();
    await bench.unchanged(id, async () => {
      assert.equal(await bench.store.resolve(id, 'absent', randomId()), false);
    });
    assert.equal(await bench.store.resolve(id, 'absent', owner), true);
  });

  test('forget removes a parked record', async (bench) => {
    const { id } = await bench.parked();
    assert.equal(await bench.store.forget(id), true);
    await bench.dead(id);
    assert.equal((await bench.claim({ id })).attempt, 1);
  });

  test('list shows parked records with why, and only those when asked', async (bench) => {
    await bench.completed(bytes('secret'));
    const { id } = await bench.parked();
    const records = await bench.store.list({ state: 'parked', limit: 10 });
    assert.deepEqual(Array.from(records, plain), [await bench.live(id)]);
    assert.deepEqual((await bench.live(id)).result, bytes('why'));
    assert.equal((await bench.store.list({ limit: 10 })).length, 2);
  });

  test('a release that does not count leaves the attempt as if it had never begun', async (bench) => {
    const { id } = await bench.released();
    for (let n = 0; n < 3; n += 1) {
      const claim = await bench.claim({ id });
      assert.deepEqual([claim.attempt, claim.takenOver], [2, false]);
      assert.deepEqual(await bench.store.release(claim, false), { applied: true });
      await bench.dead(id);
    }
    const claim = await bench.claim({ id });
    const { attemptsStarted, attemptsFinished } = await bench.live(id);
    assert.deepEqual([claim.attempt, attemptsStarted, attemptsFinished], [2, 2, 1]);
  });

  test('a first attempt that does not count leaves its steps to the next first one', async (bench) => {
    const first = await bench.claim();
    await bench.keep(first, bytes('steps'));
    await bench.store.release(first, false);
    const next = await bench.claim({ id: first.id });
    assert.deepEqual([next.attempt, next.takenOver, next.steps], [1, false, bytes('steps')]);
  });
}
