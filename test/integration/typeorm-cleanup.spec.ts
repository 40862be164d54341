import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { claimed, partitionedPaths, request, storePaths } from '../support/typeorm-stores.js';
import type { TestDatabase } from '../support/databases.js';

const CLOCK = '(SELECT ms FROM test_clock)';

describe.each([...storePaths(), ...partitionedPaths()])(
  'cleanup by TypeOrmStore on $path',
  ({ create, options, path }) => {
    let database: TestDatabase;
    let dataSource: DataSource;
    let stores: TypeOrmStore[];

    beforeEach(async () => {
      database = await create();
      dataSource = await database.open({ synchronize: true });
      await dataSource.query('CREATE TABLE test_clock (ms BIGINT NOT NULL)');
      await dataSource.query('INSERT INTO test_clock VALUES (1700000000000)');
      const others = path === 'sqlite' ? [] : [await database.open(), await database.open()];
      stores = [dataSource, ...others].map(
        (it) => new TypeOrmStore(it, { ...options, clock: CLOCK }),
      );
      for (const store of stores) await store.init();
    });
    afterEach(() => database.drop());

    const advance = (ms: number): Promise<unknown> =>
      dataSource.query(`UPDATE test_clock SET ms = ms + ${ms}`);
    const count = async (table = 'idempotency_record'): Promise<number> => {
      const [row] = await dataSource.query<{ n: string }[]>(`SELECT COUNT(*) AS n FROM ${table}`);
      return Number(row!.n);
    };

    it('counts every row once, whoever deletes it, and never touches a live one', async () => {
      const [store] = stores as [TypeOrmStore];
      for (let n = 0; n < 30; n++) {
        const claim = await claimed(store, { ttlMs: 1_000, leaseMs: 500 });
        if (n % 3 === 0) await store.complete({ ...claim, result: null, ttlMs: 1_000 });
        if (n % 3 === 1) await store.release(claim);
      }
      const kept = await claimed(store, { ttlMs: 1_000, leaseMs: 60_000 });
      const uncertain = await claimed(store, { ttlMs: 1_000 });
      await store.markUncertain(uncertain);
      await advance(2_000);
      let deleted = 0;
      while ((await count()) > 2) {
        const counts = await Promise.all(stores.map((it) => it.deleteExpired(7)));
        for (const one of counts) expect(one).toBeLessThanOrEqual(7);
        deleted += counts.reduce((sum, one) => sum + one, 0);
      }
      expect(deleted).toBe(30);
      expect(await store.find(kept.id)).not.toBeNull();
      expect(await store.find(uncertain.id)).not.toBeNull();
      expect(await store.deleteExpired(7)).toBe(0);
    });

    it('keeps an attempt that died for the whole retention of its own claim', async () => {
      const [store] = stores as [TypeOrmStore];
      const first = await claimed(store, { ttlMs: 1_000, leaseMs: 100 });
      await store.complete({ ...first, result: null, ttlMs: 1_000 });
      await advance(5_000);
      // The same row, claimed anew long after its first retention, by an owner that dies.
      await claimed(store, { id: first.id, ttlMs: 10_000, leaseMs: 100 });
      await advance(200);
      expect(await store.deleteExpired(10)).toBe(0);
      expect(await claimed(store, { id: first.id })).toMatchObject({ takenOver: true, attempt: 2 });
    });

    it('goes on with rising fences', async () => {
      const [store] = stores as [TypeOrmStore];
      let last = 0n;
      for (let round = 0; round < 3; round++) {
        const { fence } = await claimed(store, { id: request().id, ttlMs: 10, leaseMs: 10 });
        expect(fence).toBeGreaterThan(last);
        last = fence;
        await advance(20);
        expect(await store.deleteExpired(10)).toBe(1);
        expect(await count()).toBe(0);
      }
      if (store.name === 'mysql') expect(await count('idempotency_record_fence')).toBe(1);
    });

    it('lets claims of dead keys run beside it', async () => {
      const [store] = stores as [TypeOrmStore];
      const claims = await Promise.all(
        Array.from({ length: 15 }, () => claimed(store, { ttlMs: 10, leaseMs: 10 })),
      );
      await advance(20);
      const [, again] = await Promise.all([
        Promise.all(stores.map((it) => it.deleteExpired(100))),
        Promise.all(claims.map(({ id }) => claimed(store, { id }))),
      ]);
      for (const claim of again) {
        expect(await store.complete({ ...claim, result: null, ttlMs: 1_000 })).toEqual({
          applied: true,
        });
      }
    });
  },
);
