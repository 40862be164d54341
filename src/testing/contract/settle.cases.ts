import assert from 'node:assert/strict';
import type { Claim, SettleResult } from '../../engine/store.js';
import { MINUTE, TEN_YEARS, bytes, plain, times } from './bench.js';
import type { Bench, ContractCase } from './bench.js';
import { notOwned } from './not-owned.js';

export function settleCases(test: ContractCase): void {
  for (const [state, result] of [
    ['completed', bytes('{"paid":true}')],
    ['tombstone', null],
  ] as const) {
    test(`complete ends a claim as ${state}, with its expiry from now`, async (bench) => {
      const claim = await bench.claim();
      const before = await bench.live(claim.id);
      await bench.dated(5 * MINUTE, async () => {
        await bench.complete(claim, result, 5 * MINUTE);
        return (await bench.live(claim.id)).expiresAt;
      });
      const after = await bench.live(claim.id);
      const { expiresAt } = after;
      const changed = { state, result, expiresAt, leaseUntil: null, attemptsFinished: 1 };
      assert.deepEqual(after, { ...before, ...changed });
    });

    test(`complete (${state}) sent again by its owner is applied again, and prolongs nothing`, async (bench) => {
      const claim = await bench.claim();
      await bench.complete(claim, result, MINUTE);
      await bench.wait(bench.brief);
      await bench.unchanged(claim.id, () => bench.complete(claim, result, MINUTE));
    });
  }

  test('complete by its owner with another result does not alter the outcome', async (bench) => {
    const { id, owner } = await bench.completed(bytes('first'));
    for (const result of [bytes('second'), bytes(''), null]) {
      const request = { id, owner, result, ttlMs: MINUTE };
      const answer = await bench.unchanged(id, () => bench.store.complete(request));
      assert.ok(!answer.applied && answer.record?.state === 'completed');
    }
  });

  test('complete sent many times at once by its owner counts one finished attempt', async (bench) => {
    const claim = await bench.claim();
    await Promise.all(times(10, () => bench.complete(claim, bytes('x'))));
    assert.equal((await bench.live(claim.id)).attemptsFinished, 1);
  });

  test('complete by its owner after the outcome expired is not applied', async (bench) => {
    const claim = await bench.completed(bytes('x'), bench.brief);
    await bench.wait(bench.brief);
    assert.deepEqual(await operations.complete(bench, claim), { applied: false, record: null });
    await bench.dead(claim.id);
  });

  test('release makes a record dead at once', async (bench) => {
    const { id } = await bench.released();
    await bench.dead(id);
    assert.equal((await bench.store.list({ limit: 10 })).length, 0);
  });

  test('the claim after a release wins with a higher fence and is no takeover', async (bench) => {
    const old = await bench.released();
    const claim = await bench.claim({ id: old.id });
    assert.ok(claim.fence > old.fence);
    assert.equal(claim.takenOver, false);
    const { attemptsStarted, attemptsFinished } = await bench.live(old.id);
    assert.equal(attemptsStarted, claim.attempt);
    assert.equal(attemptsFinished, claim.attempt - 1, 'a released attempt is a finished one');
  });

  test('an uncertain record has neither lease nor expiry nor result', async (bench) => {
    const { id, owner, fence } = await bench.uncertain();
    const record = await bench.live(id);
    const { state, leaseUntil, expiresAt, result } = record;
    assert.deepEqual([state, leaseUntil, expiresAt, result], ['uncertain', null, null, null]);
    assert.deepEqual([record.owner, record.fence], [owner, fence]);
  });

  test('an uncertain record never expires by itself', async (bench) => {
    const claim = await bench.claim({ leaseMs: bench.aWhile, ttlMs: 1 });
    await bench.store.markUncertain(claim);
    await bench.wait(bench.clockStandsStill ? TEN_YEARS : bench.aWhile);
    assert.equal(await bench.store.deleteExpired(10), 0);
    assert.equal((await bench.live(claim.id)).state, 'uncertain');
    await bench.held({ id: claim.id });
  });

  for (const [operation, settle] of Object.entries(operations)) {
    for (const [situation, arrange] of Object.entries(notOwned)) {
      test(`${operation} changes nothing when ${situation}, and tells the live record`, async (bench) => {
        const claim = await arrange(bench);
        const winner = await bench.store.find(claim.id);
        const answer = await bench.unchanged(claim.id, () => settle(bench, claim));
        assert.equal(answer.applied, false);
        if (answer.applied) return;
        const { record } = answer;
        assert.deepEqual(record && plain(record), winner && plain(winner));
      });
    }
  }

  for (const operation of ['release', 'markUncertain'] as const) {
    test(`${operation} by its own owner after completing changes nothing`, async (bench) => {
      const claim = await bench.completed();
      const answer = await bench.unchanged(claim.id, () => bench.store[operation](claim));
      assert.ok(!answer.applied && answer.record?.state === 'completed');
    });
  }

  test('a stale owner does not stop the live one from completing', async (bench) => {
    const stale = await bench.abandoned();
    const live = await bench.claim({ id: stale.id });
    for (const settle of Object.values(operations)) await settle(bench, stale);
    await bench.complete(live, bytes('winner'));
    assert.deepEqual((await bench.live(stale.id)).result, bytes('winner'));
  });

  test('an abandoned claim that its late owner tried to settle is still a takeover', async (bench) => {
    const stale = await bench.abandoned();
    for (const settle of Object.values(operations)) await settle(bench, stale);
    const taken = await bench.claim({ id: stale.id });
    assert.deepEqual([taken.attempt, taken.takenOver], [2, true]);
  });
}

const operations = {
  complete: ({ store }, { id, owner }) =>
    store.complete({ id, owner, result: bytes('stale'), ttlMs: MINUTE }),
  release: ({ store }, claim) => store.release(claim),
  park: ({ store }, claim) => store.park(claim, bytes('stale')),
  markUncertain: ({ store }, claim) => store.markUncertain(claim),
} satisfies Record<string, (bench: Bench, claim: Claim) => Promise<SettleResult>>;
