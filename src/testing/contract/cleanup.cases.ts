import assert from 'node:assert/strict';
import { MINUTE, TEN_YEARS, bytes, randomId, times } from './bench.js';
import type { Bench, Claimed, ContractCase } from './bench.js';

export function cleanupCases(test: ContractCase): void {
  test('an empty store has nothing to delete', async (bench) => {
    assert.equal(await bench.store.deleteExpired(100), 0);
  });

  test('expired outcomes are deleted and counted', async (bench) => {
    await expired(bench, bytes('x'));
    await expired(bench, null);
    await bench.wait(bench.brief);
    assert.equal(await bench.store.deleteExpired(100), 2);
    assert.equal(await bench.store.deleteExpired(100), 0);
  });

  test('an abandoned claim older than its ttl is deleted', async (bench) => {
    await bench.abandoned({ ttlMs: bench.brief });
    assert.equal(await bench.store.deleteExpired(100), 1);
  });

  test('an abandoned claim younger than its ttl is kept, to be known as a takeover', async (bench) => {
    const { id } = await bench.abandoned({ ttlMs: TEN_YEARS });
    assert.equal(await bench.store.deleteExpired(100), 0);
    assert.equal((await bench.claim({ id })).takenOver, true);
  });

  test('an abandoned claim over an expired outcome is kept for its own ttl', async (bench) => {
    const { id } = await expired(bench, bytes('x'));
    await bench.wait(bench.brief);
    await bench.abandoned({ id, ttlMs: TEN_YEARS });
    assert.equal(await bench.store.deleteExpired(100), 0);
    assert.equal((await bench.claim({ id })).takenOver, true);
  });

  test('an abandoned takeover is kept for its own ttl', async (bench) => {
    const { id } = await bench.abandoned({ ttlMs: bench.brief });
    await bench.abandoned({ id, ttlMs: TEN_YEARS });
    assert.equal(await bench.store.deleteExpired(100), 0);
    assert.equal((await bench.claim({ id })).attempt, 3);
  });

  test('live records are never deleted', async (bench) => {
    const shortTtl = { ttlMs: 1 };
    const completed = await bench.claim(shortTtl);
    await bench.complete(completed, bytes('x'), TEN_YEARS);
    const tombstone = await bench.claim(shortTtl);
    await bench.complete(tombstone, null, TEN_YEARS);
    const uncertain = await bench.claim(shortTtl);
    await bench.store.markUncertain(uncertain);
    const running = await bench.claim({ ...shortTtl, leaseMs: TEN_YEARS });
    const renewed = await bench.claim(shortTtl);
    await bench.store.renew([renewed], TEN_YEARS);
    await bench.wait(bench.clockStandsStill ? TEN_YEARS - 1 : bench.brief);
    assert.equal(await bench.store.deleteExpired(100), 0);
    for (const { id } of [completed, tombstone, uncertain, running, renewed]) await bench.live(id);
  });

  test('one call deletes no more than its limit', async (bench) => {
    await Promise.all(times(5, () => expired(bench, bytes('x'))));
    const { id } = await bench.completed();
    await bench.wait(bench.brief);
    const deleted = [];
    for (const limit of times(4, () => 2)) deleted.push(await bench.store.deleteExpired(limit));
    assert.deepEqual(deleted, [2, 2, 1, 0]);
    await bench.live(id);
  });

  test('a released record is no obstacle to cleanup', async (bench) => {
    const claim = await bench.claim({ ttlMs: bench.brief });
    await bench.store.release(claim);
    await bench.wait(bench.brief);
    assert.ok((await bench.store.deleteExpired(100)) <= 1);
    assert.equal((await bench.claim({ id: claim.id })).takenOver, false);
  });

  test('fences go on rising after cleanup removed the record', async (bench) => {
    const old = await expired(bench, bytes('x'));
    await bench.wait(bench.brief);
    assert.equal(await bench.store.deleteExpired(100), 1);
    const claim = await bench.claim({ id: old.id });
    assert.ok(claim.fence > old.fence);
    assert.equal(claim.attempt, 1);
  });

  test('cleanup by several at once counts every row once', async (bench) => {
    const dead = 12;
    await Promise.all(times(dead, () => expired(bench, bytes('x'))));
    await bench.wait(bench.brief);
    const counts = await Promise.all(times(6, () => bench.store.deleteExpired(5)));
    let total = counts.reduce((sum, count) => sum + count, 0);
    for (let count = 1; count > 0; total += count) count = await bench.store.deleteExpired(5);
    assert.equal(total, dead);
  });

  test('a claim that cleanup races with wins once and stays', async (bench) => {
    const ids = times(10, randomId);
    await Promise.all(ids.map((id) => expired(bench, bytes('x'), id)));
    await bench.wait(bench.brief);
    const [claims] = await Promise.all([
      Promise.all(ids.map((id) => bench.claim({ id }))),
      bench.store.deleteExpired(5),
      bench.store.deleteExpired(5),
    ]);
    for (const claim of claims) await bench.complete(claim, bytes('y'), MINUTE);
  });
}

/** An outcome that is over when a brief moment has passed. */
async function expired(
  bench: Bench,
  result: Uint8Array | null,
  id: string = randomId(),
): Promise<Claimed> {
  const claim = await bench.claim({ id, ttlMs: bench.brief });
  await bench.complete(claim, result, bench.brief);
  return claim;
}
