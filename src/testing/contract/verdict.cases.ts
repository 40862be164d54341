import assert from 'node:assert/strict';
import type { Claim } from '../../engine/store.js';
import { MINUTE, bytes, randomId, times } from './bench.js';
import type { Bench, ContractCase } from './bench.js';

export function verdictCases(test: ContractCase): void {
  for (const [state, result] of [
    ['completed', bytes('found at the bank')],
    ['tombstone', null],
  ] as const) {
    test(`resolve ends an uncertain record as ${state}, with its expiry from now`, async (bench) => {
      const { id } = await bench.uncertain();
      await bench.dated(5 * MINUTE, async () => {
        assert.equal(await bench.store.resolve(id, { result, ttlMs: 5 * MINUTE }), true);
        return (await bench.live(id)).expiresAt;
      });
      const record = await bench.live(id);
      assert.deepEqual([record.state, record.result, record.leaseUntil], [state, result, null]);
      assert.equal((await bench.held({ id })).state, state);
    });
  }

  test('resolve as absent makes the record dead, and the next claim wins', async (bench) => {
    const old = await bench.uncertain();
    assert.equal(await bench.store.resolve(old.id, 'absent'), true);
    await bench.dead(old.id);
    const claim = await bench.claim({ id: old.id });
    assert.equal(claim.takenOver, false);
    assert.ok(claim.fence > old.fence);
  });

  test('a verdict on one attempt says nothing of another', async (bench) => {
    const { id, owner } = await bench.uncertain();
    const outcome = { result: bytes('verdict'), ttlMs: MINUTE };
    await bench.unchanged(id, async () => {
      assert.equal(await bench.store.resolve(id, 'absent', randomId()), false);
      assert.equal(await bench.store.resolve(id, outcome, randomId()), false);
    });
    assert.equal(await bench.store.resolve(id, outcome, owner), true);
  });

  test('a resolved outcome expires like any other', async (bench) => {
    const { id } = await bench.uncertain();
    await bench.store.resolve(id, { result: bytes('x'), ttlMs: bench.brief });
    await bench.wait(bench.brief);
    await bench.dead(id);
    assert.equal((await bench.claim({ id })).takenOver, false);
  });

  for (const [situation, arrange] of Object.entries(notUncertain)) {
    test(`resolve answers false and changes nothing when ${situation}`, async (bench) => {
      const { id } = await arrange(bench);
      await bench.unchanged(id, async () => {
        assert.equal(await bench.store.resolve(id, 'absent'), false);
        const outcome = { result: bytes('verdict'), ttlMs: MINUTE };
        assert.equal(await bench.store.resolve(id, outcome), false);
        assert.equal(await bench.store.resolve(id, { ...outcome, result: null }), false);
      });
    });
  }

  test('of many verdicts at once exactly one counts', async (bench) => {
    const { id } = await bench.uncertain();
    const verdicts = times(10, (n) => ({ result: bytes(`verdict ${n}`), ttlMs: MINUTE }));
    const counted = await Promise.all(verdicts.map((verdict) => bench.store.resolve(id, verdict)));
    assert.equal(counted.filter(Boolean).length, 1);
    assert.deepEqual((await bench.live(id)).result, bytes(`verdict ${counted.indexOf(true)}`));
  });

  test('a late write of the owner does not alter a verdict', async (bench) => {
    const claim = await bench.uncertain();
    await bench.store.resolve(claim.id, { result: bytes('verdict'), ttlMs: MINUTE });
    await bench.unchanged(claim.id, async () => {
      await bench.store.release(claim);
      await bench.store.markUncertain(claim);
      const { id, owner } = claim;
      const late = { id, owner, result: bytes('late'), ttlMs: 2 * MINUTE };
      const { applied } = await bench.store.complete(late);
      assert.equal(applied, false, 'another outcome is recorded than the owner’s');
    });
  });

  for (const [state, arrange] of [
    ['completed', (bench: Bench) => bench.completed()],
    ['tombstone', (bench: Bench) => bench.completed(null)],
    ['uncertain', (bench: Bench) => bench.uncertain()],
  ] as const) {
    test(`forget removes a record that is ${state}`, async (bench) => {
      const old = await arrange(bench);
      assert.equal(await bench.store.forget(old.id), true);
      await bench.dead(old.id);
      assert.equal(await bench.store.forget(old.id), false);
      const claim = await bench.claim({ id: old.id });
      assert.deepEqual([claim.attempt, claim.takenOver], [1, false]);
      assert.ok(claim.fence > old.fence);
    });
  }

  test('forget never pulls a live claim away', async (bench) => {
    const claim = await bench.claim();
    const forgotten = await bench.unchanged(claim.id, () => bench.store.forget(claim.id));
    assert.equal(forgotten, false);
    await bench.complete(claim, bytes('undisturbed'));
  });

  test('forget answers false where there is no live record', async (bench) => {
    const expired = await bench.completed(bytes('x'), bench.brief);
    const { id } = await bench.abandoned();
    const released = await bench.released();
    for (const dead of [id, expired.id, released.id, randomId()]) {
      assert.equal(await bench.store.forget(dead), false);
    }
  });

  test('forget removes one record only', async (bench) => {
    const others = await Promise.all(times(3, () => bench.completed()));
    const { id } = await bench.completed();
    await bench.store.forget(id);
    for (const other of others) await bench.live(other.id);
  });
}

const notUncertain: Record<string, (bench: Bench) => Promise<Claim>> = {
  'there is no record': async () => ({ id: randomId(), owner: randomId() }),
  'the record is in progress': (bench) => bench.claim(),
  'the lease is over': (bench) => bench.abandoned(),
  'the record is released': (bench) => bench.released(),
  'the record is completed': (bench) => bench.completed(),
  'the record is a tombstone': (bench) => bench.completed(null),
  'the outcome has expired': async (bench) => {
    const claim = await bench.completed(bytes('x'), bench.brief);
    await bench.wait(bench.brief);
    return claim;
  },
  'a verdict was given': async (bench) => {
    const claim = await bench.uncertain();
    await bench.store.resolve(claim.id, { result: bytes('first'), ttlMs: MINUTE });
    return claim;
  },
};
