import assert from 'node:assert/strict';
import { TEN_YEARS, bytes, randomId, times } from './bench.js';
import type { Bench, Claimed, ContractCase } from './bench.js';
import { notOwned } from './not-owned.js';

export function stepsCases(test: ContractCase): void {
  test('a new record has no steps', async (bench) => {
    assert.equal((await bench.claim()).steps, null);
  });

  for (const [ending, end] of Object.entries(endings)) {
    test(`steps are kept for the next attempt when ${ending}`, async (bench) => {
      const claim = await bench.claim();
      await bench.keep(claim, bytes('first'));
      await end(bench, claim);
      const next = await bench.claim({ id: claim.id });
      assert.deepEqual(next.steps, bytes('first'));
      assert.equal(next.attempt, 2);
    });
  }

  test('steps are kept over any number of attempts', async (bench) => {
    const id = randomId();
    for (const n of times(4, (index) => index)) {
      const claim = await bench.claim({ id });
      assert.deepEqual(claim.steps, n === 0 ? null : bytes(`steps ${n}`));
      await bench.keep(claim, bytes(`steps ${n + 1}`));
      await bench.store.release(claim);
    }
    const { steps } = await bench.claim({ id });
    assert.deepEqual(steps, bytes('steps 4'));
  });

  test('findSteps answers the steps of a live record, and null where there are none', async (bench) => {
    const { store } = bench;
    const waiting: Record<string, (claim: Claimed) => Promise<unknown>> = {
      'in progress': async () => undefined,
      uncertain: (claim) => store.markUncertain(claim),
      parked: (claim) => store.park(claim, null),
    };
    for (const [state, end] of Object.entries(waiting)) {
      const claim = await bench.claim();
      await bench.keep(claim, bytes(state));
      await end(claim);
      const steps = await store.findSteps(claim.id);
      assert.deepEqual(steps && new Uint8Array(steps), bytes(state));
    }
    const ended = await bench.claim();
    await bench.keep(ended, bytes('dropped'));
    await bench.complete(ended, bytes('done'));
    const { id } = await bench.claim();
    for (const none of [ended.id, id, randomId()]) assert.equal(await store.findSteps(none), null);
  });

  test('an attempt that keeps no steps leaves the earlier ones', async (bench) => {
    const id = await idWithSteps(bench, bytes('first'));
    await bench.store.release(await bench.claim({ id }));
    assert.deepEqual((await bench.claim({ id })).steps, bytes('first'));
  });

  test('later steps take the place of earlier ones', async (bench) => {
    const claim = await bench.claim();
    await bench.keep(claim, bytes('first and second'));
    await bench.keep(claim, bytes('third'));
    await bench.store.release(claim);
    assert.deepEqual((await bench.claim({ id: claim.id })).steps, bytes('third'));
  });

  test('a claim sent again by its live owner answers the steps kept so far', async (bench) => {
    const claim = await bench.claim();
    await bench.keep(claim, bytes('mine'));
    assert.deepEqual((await bench.claim(claim.request)).steps, bytes('mine'));
  });

  test('steps sent again are applied again', async (bench) => {
    const claim = await bench.claim();
    await bench.keep(claim, bytes('same'));
    await bench.keep(claim, bytes('same'));
    await Promise.all(times(5, () => bench.keep(claim, bytes('same'))));
    await bench.store.release(claim);
    assert.deepEqual((await bench.claim({ id: claim.id })).steps, bytes('same'));
  });

  test('keeping steps changes nothing else of the record', async (bench) => {
    const claim = await bench.claim();
    await bench.unchanged(claim.id, () => bench.keep(claim, bytes('mine')));
  });

  for (const [state, result] of [
    ['completed', bytes('done')],
    ['tombstone', null],
  ] as const) {
    test(`an outcome (${state}) drops the steps: none are left when it has expired`, async (bench) => {
      const claim = await bench.claim();
      await bench.keep(claim, bytes('mine'));
      await bench.complete(claim, result, bench.brief);
      await bench.wait(bench.brief);
      const next = await bench.claim({ id: claim.id });
      assert.deepEqual([next.attempt, next.steps], [1, null]);
    });

    test(`a verdict (${state}) drops the steps: none are left when it has expired`, async (bench) => {
      const claim = await bench.claim();
      await bench.keep(claim, bytes('mine'));
      await bench.store.markUncertain(claim);
      await bench.store.resolve(claim.id, { result, ttlMs: bench.brief });
      await bench.wait(bench.brief);
      assert.equal((await bench.claim({ id: claim.id })).steps, null);
    });
  }

  test('a record that was forgotten has no steps', async (bench) => {
    const claim = await bench.claim();
    await bench.keep(claim, bytes('mine'));
    await bench.store.markUncertain(claim);
    await bench.store.forget(claim.id);
    assert.equal((await bench.claim({ id: claim.id })).steps, null);
  });

  test('forgetting a dead record forgets its steps', async (bench) => {
    const id = await idWithSteps(bench, bytes('mine'));
    await bench.store.forget(id);
    assert.equal((await bench.claim({ id })).steps, null);
  });

  test('cleanup deletes steps with their record, when its time is over', async (bench) => {
    const young = await bench.claim({ ttlMs: TEN_YEARS });
    const old = await bench.claim({ ttlMs: bench.brief });
    for (const claim of [young, old]) {
      await bench.keep(claim, bytes('mine'));
      await bench.store.release(claim);
    }
    await bench.wait(bench.brief);
    assert.equal(await bench.store.deleteExpired(10), 1);
    assert.equal((await bench.claim({ id: old.id })).steps, null);
    assert.deepEqual((await bench.claim({ id: young.id })).steps, bytes('mine'));
  });

  for (const [situation, arrange] of Object.entries(notOwned)) {
    test(`keepSteps changes nothing when ${situation}, and tells the live record`, async (bench) => {
      const claim = await arrange(bench);
      const winner = await bench.store.find(claim.id);
      const answer = await bench.unchanged(claim.id, () =>
        bench.store.keepSteps(claim, bytes('stale')),
      );
      assert.ok(!answer.applied);
      assert.equal(answer.record?.owner, winner?.owner);
      assert.equal(answer.record?.state, winner?.state);
    });
  }

  test('the steps of a stale owner are not those of the next attempt', async (bench) => {
    const stale = await bench.claim();
    await bench.keep(stale, bytes('in time'));
    await bench.lapse(stale);
    await bench.store.keepSteps(stale, bytes('too late'));
    const live = await bench.claim({ id: stale.id });
    assert.deepEqual(live.steps, bytes('in time'));
    await bench.store.keepSteps(stale, bytes('much too late'));
    await bench.store.release(live);
    assert.deepEqual((await bench.claim({ id: stale.id })).steps, bytes('in time'));
  });

  test('keepSteps by its own owner after completing changes nothing', async (bench) => {
    const claim = await bench.completed();
    const answer = await bench.unchanged(claim.id, () =>
      bench.store.keepSteps(claim, bytes('late')),
    );
    assert.ok(!answer.applied && answer.record?.state === 'completed');
  });

  const samples: Record<string, Uint8Array> = {
    'no byte at all': new Uint8Array(0),
    'every byte value': Uint8Array.from(times(256, (n) => n)),
    'a view into a larger buffer': Buffer.from('abcdef').subarray(2, 4),
    'five megabytes': Buffer.alloc(5_000_011, Uint8Array.from(times(251, (n) => n))),
  };
  for (const [what, steps] of Object.entries(samples)) {
    test(`steps of ${what} come back byte for byte`, async (bench) => {
      const id = await idWithSteps(bench, steps);
      const kept = (await bench.claim({ id })).steps;
      assert.ok(kept && Buffer.compare(kept, steps) === 0);
    });
  }

  test('changing the given or the answered bytes changes no steps', async (bench) => {
    const given = Buffer.from('steps');
    const claim = await bench.claim();
    await bench.keep(claim, given);
    given.fill(0);
    const answer = await bench.store.claim(claim.request);
    if (answer.type === 'claimed') answer.steps?.fill(1);
    assert.deepEqual((await bench.claim(claim.request)).steps, bytes('steps'));
  });
}

/** How an attempt may end, so that another one follows. */
const endings: Record<string, (bench: Bench, claim: Claimed) => Promise<unknown>> = {
  'the attempt is released': ({ store }, claim) => store.release(claim),
  'its lease runs out': (bench, claim) => bench.lapse(claim),
  'it is resolved as absent': async ({ store }, claim) => {
    await store.markUncertain(claim);
    await store.resolve(claim.id, 'absent');
  },
  'it died after its effect had begun, and is resolved as absent': async (bench, claim) => {
    await bench.store.startEffect(claim);
    await bench.lapse(claim);
    await bench.store.resolve(claim.id, 'absent');
  },
};

async function idWithSteps(bench: Bench, steps: Uint8Array): Promise<string> {
  const claim = await bench.claim();
  await bench.keep(claim, steps);
  await bench.store.release(claim);
  return claim.id;
}
