import assert from 'node:assert/strict';
import { MINUTE, TEN_YEARS, bytes, plain, randomId, times } from './bench.js';
import type { ContractCase } from './bench.js';

export function leaseCases(test: ContractCase): void {
  test('a claim is dead when its lease is over', async (bench) => {
    const { id } = await bench.abandoned();
    await bench.dead(id);
  });

  test('a lease is alive to its last millisecond and over at its end', async (bench) => {
    const { id, request } = await bench.claim({ leaseMs: bench.aWhile });
    if (bench.clockStandsStill) await bench.wait(request.leaseMs - 1);
    await bench.live(id);
    await bench.wait(bench.clockStandsStill ? 1 : request.leaseMs);
    await bench.dead(id);
    assert.equal((await bench.claim({ id })).takenOver, true);
  });

  test('a takeover brings a new owner, fingerprint, lease and texts, and a higher fence', async (bench) => {
    const dead = await bench.abandoned();
    const taken = await bench.claim({ id: dead.id, scope: 's', operation: 'o', key: 'k' });
    assert.deepEqual([taken.attempt, taken.takenOver], [2, true]);
    assert.ok(taken.fence > dead.fence);
    const { request } = taken;
    const record = await bench.live(dead.id);
    bench.sameMoment(record.leaseUntil, record.claimedAt + request.leaseMs);
    assert.ok(record.claimedAt >= dead.now + dead.request.leaseMs);
    assert.deepEqual(record, {
      ...record,
      state: 'in-progress',
      owner: request.owner,
      fence: taken.fence,
      fingerprint: new Uint8Array(request.fingerprint),
      attemptsStarted: 2,
      attemptsFinished: 0,
      scope: 's',
      operation: 'o',
      key: 'k',
      result: null,
    });
  });

  test('attempts are counted over every takeover', async (bench) => {
    const id = randomId();
    for (const attempt of [1, 2, 3]) {
      const claim = await bench.abandoned({ id });
      assert.deepEqual([claim.attempt, claim.takenOver], [attempt, attempt > 1]);
    }
    await bench.complete(await bench.claim({ id }), bytes('at last'));
    const record = await bench.live(id);
    assert.deepEqual([record.attemptsStarted, record.attemptsFinished], [4, 1]);
  });

  test('an owner that outlived its lease takes over from itself like any other', async (bench) => {
    const dead = await bench.abandoned();
    const { request } = dead;
    const again = await bench.claim({ ...request, leaseMs: MINUTE });
    assert.deepEqual([again.attempt, again.takenOver], [2, true]);
    assert.ok(again.fence > dead.fence);
  });

  for (const [state, result] of [
    ['completed', bytes('old')],
    ['tombstone', null],
  ] as const) {
    test(`an expired outcome (${state}) starts a record from the beginning`, async (bench) => {
      const old = await bench.completed(result, bench.brief);
      await bench.wait(bench.brief);
      await bench.dead(old.id);
      const claim = await bench.claim({ id: old.id });
      assert.deepEqual([claim.attempt, claim.takenOver], [1, false]);
      assert.ok(claim.fence > old.fence);
      const record = await bench.live(old.id);
      assert.deepEqual(
        [record.state, record.result, record.expiresAt, record.attemptsStarted],
        ['in-progress', null, null, 1],
      );
      assert.equal(record.attemptsFinished, 0);
    });
  }

  test('an outcome is alive to its last millisecond and over at its end', async (bench) => {
    const { id } = await bench.completed(bytes('x'), bench.aWhile);
    if (bench.clockStandsStill) await bench.wait(bench.aWhile - 1);
    await bench.live(id);
    await bench.wait(bench.clockStandsStill ? 1 : bench.aWhile);
    await bench.dead(id);
    await bench.claim({ id });
  });

  test('a released record is no takeover, also when its attempt was one', async (bench) => {
    const { id } = await bench.abandoned();
    const taken = await bench.claim({ id });
    await bench.store.release(taken);
    assert.equal((await bench.claim({ id })).takenOver, false);
  });

  test('a claim of ten years is alive for ten years', async (bench) => {
    const { id } = await bench.claim({ leaseMs: TEN_YEARS });
    const { claimedAt, leaseUntil } = await bench.live(id);
    bench.sameMoment(leaseUntil, claimedAt + TEN_YEARS);
    if (!bench.clockStandsStill) return;
    await bench.wait(TEN_YEARS - 1);
    await bench.live(id);
    await bench.wait(1);
    await bench.dead(id);
  });

  test('an outcome kept for ten years is alive for ten years', async (bench) => {
    const { id } = await bench.completed(bytes('x'), TEN_YEARS);
    assert.ok(((await bench.live(id)).expiresAt ?? 0) >= TEN_YEARS);
    if (!bench.clockStandsStill) return;
    await bench.wait(TEN_YEARS - 1);
    await bench.live(id);
    await bench.wait(1);
    await bench.dead(id);
  });

  test('a renewal sets the lease from now', async (bench) => {
    const claim = await bench.claim();
    await bench.dated(7 * MINUTE, async () => {
      assert.deepEqual(await bench.store.renew([claim], 7 * MINUTE), new Set([claim.owner]));
      return (await bench.live(claim.id)).leaseUntil;
    });
  });

  test('a renewed claim outlives its first lease, and nothing else of it changes', async (bench) => {
    const claim = await bench.claim({ leaseMs: bench.aWhile });
    const before = await bench.live(claim.id);
    await bench.store.renew([claim], TEN_YEARS);
    await bench.wait(bench.aWhile);
    const { leaseUntil, ...after } = await bench.live(claim.id);
    assert.ok((leaseUntil ?? 0) > TEN_YEARS);
    assert.deepEqual({ ...after, leaseUntil: before.leaseUntil }, before);
  });

  test('a renewal of many renews those that are owned, live and in progress', async (bench) => {
    const over = await bench.abandoned();
    const lost = await bench.abandoned();
    await bench.claim({ id: lost.id });
    const mine = await Promise.all(times(5, () => bench.claim()));
    const stale = [
      over,
      lost,
      await bench.completed(),
      await bench.completed(null),
      await bench.uncertain(),
      await bench.released(),
      { id: randomId(), owner: randomId() },
      { id: (await bench.claim()).id, owner: randomId() },
      { id: (await bench.claim()).id, owner: mine[0]?.owner ?? '' },
    ];
    const before = await bench.store.list({ limit: 1_000 });
    const renewed = await bench.store.renew([...stale, ...mine], 5 * MINUTE);
    assert.deepEqual(renewed, new Set(mine.map(({ owner }) => owner)));
    const after = await bench.store.list({ limit: 1_000 });
    const untouched = before.filter(({ id }) => !mine.some((claim) => claim.id === id));
    for (const record of untouched) {
      const now = after.find(({ id }) => id === record.id);
      assert.deepEqual(now && plain(now), plain(record));
    }
    await bench.dead(over.id);
  });

  test('a renewal of nothing renews nothing', async (bench) => {
    assert.deepEqual(await bench.store.renew([], MINUTE), new Set());
  });

  test('a renewal of hundreds is one call', async (bench) => {
    const claims = await Promise.all(times(300, () => bench.claim()));
    const renewed = await bench.store.renew(claims, MINUTE);
    assert.equal(renewed.size, 300);
  });

  test('a lease that is over is not brought back to life by a renewal', async (bench) => {
    const claim = await bench.abandoned();
    assert.deepEqual(await bench.store.renew([claim], MINUTE), new Set());
    await bench.dead(claim.id);
    assert.equal((await bench.claim({ id: claim.id })).takenOver, true);
  });
}
