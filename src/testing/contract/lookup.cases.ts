import assert from 'node:assert/strict';
import type { ListFilter } from '../../engine/store.js';
import { bytes, plain, randomId, times } from './bench.js';
import type { Bench, ContractCase } from './bench.js';

export function lookupCases(test: ContractCase): void {
  test('the store has a name', async ({ store }) => {
    assert.ok(store.name.length > 0);
  });

  test('ping answers a clock that does not run backwards, in whole milliseconds', async (bench) => {
    let last = 0;
    for (const _ of times(20, String)) {
      const now = await bench.store.ping();
      assert.ok(Number.isInteger(now) && now >= last, `${now} after ${last}`);
      last = now;
    }
    await bench.wait(bench.brief);
    assert.ok((await bench.store.ping()) >= last + bench.brief);
  });

  test('find answers null where there is no live record', async (bench) => {
    const expired = await bench.completed(bytes('x'), bench.brief);
    const { id } = await bench.abandoned();
    const released = await bench.released();
    for (const dead of [id, expired.id, released.id, randomId()]) await bench.dead(dead);
  });

  test('finding a record does not prolong it', async (bench) => {
    const { id } = await bench.completed();
    const before = await bench.live(id);
    await bench.wait(bench.brief);
    assert.deepEqual(await bench.live(id), before);
  });

  test('list answers every live record, always in one order', async (bench) => {
    const claims = await Promise.all(times(20, () => bench.claim()));
    const order = await listed(bench, { limit: 1_000 });
    assert.deepEqual(order.toSorted(), claims.map(({ id }) => id).sort());
    assert.deepEqual(await listed(bench, { limit: 1_000 }), order);
  });

  test('list leaves out dead records', async (bench) => {
    await bench.completed(bytes('x'), bench.brief);
    await bench.completed(null, bench.brief);
    await bench.released();
    await bench.abandoned();
    const { id } = await bench.claim();
    assert.deepEqual(await listed(bench, { limit: 1_000 }), [id]);
    assert.deepEqual(await listed(bench, { limit: 1_000, state: 'completed' }), []);
    assert.deepEqual(await listed(bench, { limit: 1_000, state: 'in-progress' }), [id]);
  });

  test('a listed record is the found one without its result', async (bench) => {
    const { id } = await bench.completed(bytes('secret'));
    const [record] = await bench.store.list({ limit: 1 });
    assert.deepEqual(record && plain(record), { ...(await bench.live(id)), result: null });
  });

  test('list filters by state', async (bench) => {
    const claims = {
      'in-progress': await bench.claim(),
      completed: await bench.completed(),
      uncertain: await bench.uncertain(),
      tombstone: await bench.completed(null),
      parked: await bench.parked(),
    };
    for (const state of Object.keys(claims) as (keyof typeof claims)[]) {
      assert.deepEqual(await listed(bench, { limit: 10, state }), [claims[state].id]);
    }
    assert.equal((await listed(bench, { limit: 10 })).length, 5);
  });

  test('list filters by scope, exactly', async (bench) => {
    const scopes = ['tenant', 'Tenant', 'ténant', 'tenant ', ' tenant', 'tenant%', '', null];
    const claims = await Promise.all(scopes.map((scope) => bench.claim({ scope })));
    for (const { id, request } of claims) {
      if (request.scope === null) continue;
      assert.deepEqual(await listed(bench, { limit: 10, scope: request.scope }), [id]);
    }
    assert.deepEqual(await listed(bench, { limit: 10, scope: '%' }), []);
    assert.deepEqual(await listed(bench, { limit: 10, scope: "x' OR 'a' = 'a" }), []);
  });

  test('list filters by state and scope together', async (bench) => {
    await bench.claim({ scope: 'a' });
    await bench.store.markUncertain(await bench.claim({ scope: 'b' }));
    const mine = await bench.claim({ scope: 'a' });
    await bench.store.markUncertain(mine);
    const filter = { limit: 10, scope: 'a', state: 'uncertain' } as const;
    assert.deepEqual(await listed(bench, filter), [mine.id]);
  });

  test('countRecords counts live records by state and scope, as far as it is asked to', async (bench) => {
    const { store } = bench;
    assert.equal(await store.countRecords({}, 10), 0);
    await bench.claim({ scope: 'a' });
    await bench.claim({ scope: 'b' });
    await bench.completed(null);
    await bench.uncertain();
    await bench.lapsed();
    await bench.parked();
    await bench.released();
    await bench.abandoned();
    const counts = [
      await store.countRecords({}, 10),
      await store.countRecords({}, 4),
      await store.countRecords({ state: 'in-progress' }, 10),
      await store.countRecords({ state: 'uncertain' }, 10),
      await store.countRecords({ state: 'parked' }, 10),
      await store.countRecords({ state: 'completed' }, 10),
      await store.countRecords({ scope: 'a' }, 10),
      await store.countRecords({ scope: 'A' }, 10),
      await store.countRecords({ scope: 'b', state: 'tombstone' }, 10),
    ];
    assert.deepEqual(counts, [6, 4, 2, 2, 1, 0, 1, 0, 0]);
  });

  test('countRecords of the expired counts what cleanup would delete', async (bench) => {
    const { store } = bench;
    await bench.claim({ scope: 'a' });
    await bench.complete(await bench.claim({ ttlMs: bench.brief }), bytes('x'), bench.brief);
    await bench.abandoned({ scope: 'a', leaseMs: bench.brief, ttlMs: bench.brief });
    await bench.abandoned(); // kept for an hour yet, to count its attempts
    await bench.uncertain();
    const expired = await store.countRecords({ state: 'expired' }, 10);
    assert.deepEqual(
      [
        expired,
        await store.countRecords({ state: 'expired', scope: 'a' }, 10),
        await store.countRecords({ state: 'expired' }, 1),
      ],
      [2, 1, 1],
    );
    assert.equal(await store.deleteExpired(10), expired);
  });

  test('list pages through every record once', async (bench) => {
    const claims = await Promise.all(times(7, () => bench.claim()));
    const seen: string[] = [];
    for (let after: string | undefined; ; after = seen.at(-1)) {
      const page = await listed(bench, { limit: 3, ...(after !== undefined && { after }) });
      assert.ok(page.length <= 3);
      if (page.length === 0) break;
      seen.push(...page);
    }
    assert.deepEqual(seen, await listed(bench, { limit: 1_000 }));
    assert.deepEqual(seen.sort(), claims.map(({ id }) => id).sort());
  });

  test('a page goes on behind a record that is gone', async (bench) => {
    const claims = await Promise.all(times(3, () => bench.claim()));
    const [, second = '', third] = await listed(bench, { limit: 10 });
    await bench.store.release(claims.find(({ id }) => id === second)!);
    assert.deepEqual(await listed(bench, { limit: 10, after: second }), [third]);
  });

  test('pages keep to their filter', async (bench) => {
    await Promise.all(times(6, (n) => bench.claim({ scope: n % 2 ? 'odd' : 'even' })));
    const [first = '', ...others] = await listed(bench, { limit: 10, scope: 'odd' });
    assert.equal(others.length, 2);
    assert.deepEqual(await listed(bench, { limit: 2, scope: 'odd', after: first }), others);
  });

  test('an empty store lists nothing', async (bench) => {
    assert.deepEqual(await listed(bench, { limit: 1 }), []);
  });
}

async function listed(bench: Bench, filter: ListFilter): Promise<string[]> {
  return Array.from(await bench.store.list(filter), ({ id }) => id);
}
