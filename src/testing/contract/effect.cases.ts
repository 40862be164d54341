import assert from 'node:assert/strict';
import { MINUTE, TEN_YEARS, bytes, randomId, times } from './bench.js';
import type { Bench, Claimed, ContractCase } from './bench.js';
import { notOwned } from './not-owned.js';

export function effectCases(test: ContractCase): void {
  for (const [how, begin] of Object.entries(beginnings)) {
    test(`while its lease lives, an attempt ${how} is in progress to everybody`, async (bench) => {
      const { id } = await begin(bench);
      const { state, leaseUntil, expiresAt } = await bench.live(id);
      assert.equal(state, 'in-progress');
      assert.ok(leaseUntil !== null && expiresAt === null);
      assert.equal((await bench.held({ id })).state, 'in-progress');
      assert.equal((await bench.store.list({ limit: 10, state: 'in-progress' })).length, 1);
      assert.equal((await bench.store.list({ limit: 10, state: 'uncertain' })).length, 0);
      await bench.unchanged(id, async () => {
        assert.equal(await bench.store.forget(id), false);
        assert.equal(await bench.store.resolve(id, 'absent'), false);
        const outcome = { result: bytes('x'), ttlMs: MINUTE };
        assert.equal(await bench.store.resolve(id, outcome), false);
      });
    });

    test(`an attempt ${how} is still recognised when its claim is sent again`, async (bench) => {
      const claim = await begin(bench);
      const again = await bench.claim(claim.request);
      assert.deepEqual([again.fence, again.attempt], [claim.fence, 1]);
    });

    test(`the lease of an attempt ${how} is renewed like any other`, async (bench) => {
      const claim = await begin(bench, { leaseMs: bench.aWhile });
      assert.deepEqual(await bench.store.renew([claim], TEN_YEARS), new Set([claim.owner]));
      await bench.wait(bench.aWhile);
      assert.equal((await bench.live(claim.id)).state, 'in-progress');
    });

    test(`an attempt ${how} is uncertain the moment its lease is over`, async (bench) => {
      const claim = await begin(bench, { leaseMs: bench.aWhile });
      if (bench.clockStandsStill) {
        await bench.wait(bench.aWhile - 1);
        assert.equal((await bench.live(claim.id)).state, 'in-progress');
      }
      await bench.wait(bench.clockStandsStill ? 1 : bench.aWhile);
      const { state, owner, fence, leaseUntil, expiresAt, result } = await bench.live(claim.id);
      assert.deepEqual([state, owner, fence], ['uncertain', claim.owner, claim.fence]);
      assert.deepEqual([leaseUntil, expiresAt, result], [null, null, null]);
      const held = await bench.held({ id: claim.id });
      assert.deepEqual([held.state, held.owner], ['uncertain', claim.owner]);
      const listed = await bench.store.list({ limit: 10, state: 'uncertain' });
      assert.deepEqual([listed.length, listed[0]?.id], [1, claim.id]);
      assert.equal((await bench.store.list({ limit: 10, state: 'in-progress' })).length, 0);
    });

    test(`an attempt ${how} that lapsed holds off its own claim as well`, async (bench) => {
      const claim = await lapsed(bench, begin);
      assert.equal((await bench.held(claim.request)).state, 'uncertain');
    });

    test(`an attempt ${how} that lapsed never expires by itself`, async (bench) => {
      const claim = await lapsed(bench, begin, { ttlMs: 1 });
      if (bench.clockStandsStill) await bench.wait(TEN_YEARS);
      assert.equal(await bench.store.deleteExpired(10), 0);
      assert.equal((await bench.live(claim.id)).state, 'uncertain');
    });

    test(`an attempt ${how} that lapsed is not brought back by a renewal`, async (bench) => {
      const claim = await lapsed(bench, begin);
      await bench.unchanged(claim.id, async () => {
        assert.deepEqual(await bench.store.renew([claim], MINUTE), new Set());
      });
    });

    test(`the owner of an attempt ${how} may still complete it after its lease`, async (bench) => {
      const claim = await lapsed(bench, begin);
      await bench.complete(claim, bytes('it was done'));
      const { state, result, leaseUntil, attemptsFinished } = await bench.live(claim.id);
      assert.deepEqual([state, result], ['completed', bytes('it was done')]);
      assert.deepEqual([leaseUntil, attemptsFinished], [null, 1]);
    });

    test(`the owner of an attempt ${how} may still release it after its lease`, async (bench) => {
      const claim = await lapsed(bench, begin);
      assert.deepEqual(await bench.store.release(claim), { applied: true });
      await bench.dead(claim.id);
      const next = await bench.claim({ id: claim.id });
      assert.deepEqual([next.attempt, next.takenOver], [2, false]);
    });

    test(`the owner of an attempt ${how} may still call it uncertain after its lease`, async (bench) => {
      const claim = await lapsed(bench, begin);
      assert.deepEqual(await bench.store.markUncertain(claim), { applied: true });
      assert.equal((await bench.live(claim.id)).state, 'uncertain');
      const answer = await bench.unchanged(claim.id, () => bench.store.release(claim));
      assert.equal(answer.applied, false, 'what its owner has said is settled');
    });

    test(`nobody but its owner settles an attempt ${how} after its lease`, async (bench) => {
      const { id } = await lapsed(bench, begin);
      const stranger = { id, owner: randomId() };
      await bench.unchanged(id, async () => {
        const outcome = { ...stranger, result: bytes('x'), ttlMs: MINUTE };
        assert.equal((await bench.store.complete(outcome)).applied, false);
        assert.equal((await bench.store.release(stranger)).applied, false);
        assert.equal((await bench.store.markUncertain(stranger)).applied, false);
      });
    });

    test(`an attempt ${how} that completes leaves nothing uncertain behind`, async (bench) => {
      const claim = await begin(bench, { leaseMs: bench.aWhile });
      await bench.complete(claim, bytes('x'), TEN_YEARS);
      await bench.wait(bench.aWhile);
      assert.equal((await bench.live(claim.id)).state, 'completed');
    });

    test(`the claim after an attempt ${how} was released begins no effect by itself`, async (bench) => {
      const claim = await begin(bench);
      await bench.store.release(claim);
      const { id } = await bench.abandoned({ id: claim.id });
      await bench.dead(id);
      assert.equal((await bench.claim({ id })).takenOver, true);
    });
  }

  for (const [verdict, given, state] of [
    ['completed', { result: bytes('found'), ttlMs: MINUTE }, 'completed'],
    ['done', { result: null, ttlMs: MINUTE }, 'tombstone'],
  ] as const) {
    test(`a lapsed effect is resolved as ${verdict}, and its owner is not heard any more`, async (bench) => {
      const claim = await bench.lapsed();
      assert.equal(await bench.store.resolve(claim.id, given), true);
      assert.equal((await bench.live(claim.id)).state, state);
      await bench.unchanged(claim.id, () => lateWrites(bench, claim));
    });
  }

  test('a lapsed effect is resolved as absent, and its owner is not heard any more', async (bench) => {
    const claim = await bench.lapsed();
    assert.equal(await bench.store.resolve(claim.id, 'absent'), true);
    await bench.dead(claim.id);
    await lateWrites(bench, claim);
    await bench.dead(claim.id);
    const next = await bench.claim({ id: claim.id });
    assert.deepEqual([next.attempt, next.takenOver], [2, false]);
    await bench.unchanged(claim.id, () => lateWrites(bench, claim));
  });

  test('of many verdicts at once about a lapsed effect exactly one counts', async (bench) => {
    const { id } = await bench.lapsed();
    const verdicts = times(10, (n) => ({ result: bytes(`verdict ${n}`), ttlMs: MINUTE }));
    const counted = await Promise.all(verdicts.map((verdict) => bench.store.resolve(id, verdict)));
    assert.equal(counted.filter(Boolean).length, 1);
    assert.deepEqual((await bench.live(id)).result, bytes(`verdict ${counted.indexOf(true)}`));
  });

  test('a lapsed effect that was forgotten is gone', async (bench) => {
    const { id } = await bench.lapsed();
    assert.equal(await bench.store.forget(id), true);
    await bench.dead(id);
    assert.equal((await bench.claim({ id })).attempt, 1);
  });

  test('beginning an effect changes nothing else of the record, however often', async (bench) => {
    const claim = await bench.claim();
    await bench.unchanged(claim.id, async () => {
      for (const _ of times(3, String)) {
        assert.deepEqual(await bench.store.startEffect(claim), { applied: true });
      }
    });
  });

  test('an effect begins at once when it is begun many times at once', async (bench) => {
    const claim = await bench.claim();
    const answers = await Promise.all(times(10, () => bench.store.startEffect(claim)));
    assert.ok(answers.every(({ applied }) => applied));
    await bench.lapse(claim);
    assert.equal((await bench.live(claim.id)).state, 'uncertain');
  });

  test('steps are kept before and after an effect has begun', async (bench) => {
    const claim = await bench.claim();
    await bench.keep(claim, bytes('before'));
    await bench.store.startEffect(claim);
    await bench.keep(claim, bytes('after'));
    await bench.store.release(claim);
    assert.deepEqual((await bench.claim({ id: claim.id })).steps, bytes('after'));
  });

  for (const [situation, arrange] of Object.entries(notOwned)) {
    test(`startEffect changes nothing when ${situation}, and tells the live record`, async (bench) => {
      const claim = await arrange(bench);
      const winner = await bench.store.find(claim.id);
      const answer = await bench.unchanged(claim.id, () => bench.store.startEffect(claim));
      assert.ok(!answer.applied);
      assert.equal(answer.record?.owner, winner?.owner);
      assert.equal(answer.record?.state, winner?.state);
    });
  }

  test('an effect that a stale owner tried to begin does not outlive anybody', async (bench) => {
    const stale = await bench.abandoned();
    await bench.store.startEffect(stale);
    await bench.dead(stale.id);
    const { id } = await bench.abandoned({ id: stale.id });
    await bench.store.startEffect(stale);
    await bench.dead(id);
  });
}

/** How an effect may come to have begun. */
const beginnings: Record<string, (bench: Bench, given?: Given) => Promise<Claimed>> = {
  'whose effect has begun': (bench, given) => bench.effective(given),
  'claimed with its effect': (bench, given) => bench.claim({ ...given, effectStarted: true }),
};

interface Given {
  readonly leaseMs?: number;
  readonly ttlMs?: number;
}

async function lapsed(
  bench: Bench,
  begin: (bench: Bench, given?: Given) => Promise<Claimed>,
  given: Given = {},
): Promise<Claimed> {
  const claim = await begin(bench, given);
  await bench.lapse(claim);
  return claim;
}

async function lateWrites({ store }: Bench, claim: Claimed): Promise<void> {
  const { id, owner } = claim;
  const late = { id, owner, result: bytes('late'), ttlMs: MINUTE };
  assert.equal((await store.complete(late)).applied, false);
  assert.equal((await store.release(claim)).applied, false);
  assert.equal((await store.markUncertain(claim)).applied, false);
  assert.equal((await store.startEffect(claim)).applied, false);
  assert.equal((await store.keepSteps(claim, bytes('late'))).applied, false);
}
