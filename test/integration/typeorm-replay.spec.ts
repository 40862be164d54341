import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { claimed, request, storePaths, token } from '../support/typeorm-stores.js';
import { StatementLog } from '../support/typeorm-statement-log.js';
import type { TestDatabase } from '../support/databases.js';

const RESULT = new Uint8Array([1, 2, 3]);
const servers = storePaths().filter(({ path }) => !path.startsWith('sqlite'));

describe.each(servers)(
  'what the statements of TypeOrmStore cost on $path',
  ({ create, options }) => {
    const log = new StatementLog();
    let database: TestDatabase;
    let dataSource: DataSource;
    let store: TypeOrmStore;

    beforeAll(async () => {
      database = await create();
      dataSource = await database.open({ synchronize: true, logger: log });
      store = new TypeOrmStore(dataSource, options);
      await store.init();
    });
    afterAll(() => database.drop());

    async function completed(): Promise<string> {
      const claim = await claimed(store);
      await store.complete({ ...claim, result: RESULT, ttlMs: 60_000 });
      return claim.id;
    }

    it('replays while another transaction holds a lock on the row', async () => {
      const id = await completed();
      const runner = dataSource.createQueryRunner();
      await runner.startTransaction();
      try {
        await runner.query('SELECT id FROM idempotency_record FOR UPDATE');
        expect(await store.claim(request({ id }))).toMatchObject({
          type: 'held',
          record: { state: 'completed', result: RESULT },
        });
      } finally {
        await runner.rollbackTransaction();
        await runner.release();
      }
    });

    it('needs few round trips', async () => {
      const plainMySql = store.name === 'mysql';
      const claim = request();
      expect(await log.during(() => store.claim(claim))).toHaveLength(plainMySql ? 4 : 1);
      const settle = { ...claim, result: RESULT, ttlMs: 60_000 };
      expect(await log.during(() => store.complete(settle))).toHaveLength(1);
      expect(await log.during(() => store.claim(request({ id: claim.id })))).toHaveLength(1);
      const two = [await claimed(store), await claimed(store)];
      expect(await log.during(() => store.renew(two, 1_000))).toHaveLength(
        store.name === 'postgres' ? 1 : 2,
      );
      expect(await log.during(() => store.renew([], 1_000))).toHaveLength(0);
    });
  },
);

describe.each(servers.filter(({ path }) => path === 'postgres'))(
  'what TypeOrmStore leaves behind on $path',
  ({ create }) => {
    const log = new StatementLog();
    let database: TestDatabase;
    let dataSource: DataSource;
    let store: TypeOrmStore;

    beforeAll(async () => {
      database = await create();
      // One connection, so that its statistics are complete once it has reported them.
      dataSource = await database.open({ synchronize: true, logger: log, extra: { max: 1 } });
      store = new TypeOrmStore(dataSource);
      await store.init();
    });
    afterAll(() => database.drop());

    it('writes nothing for a replay', async () => {
      const { id, owner } = await claimed(store);
      await store.complete({ id, owner, result: RESULT, ttlMs: 60_000 });
      expect(await logRecords(() => store.claim(request({ id })))).toBe(0);
      // The same statement for a new key, to see that the measure measures.
      expect(await logRecords(() => store.claim(request()))).toBeGreaterThan(0);
    });

    it('draws no number for a replay', async () => {
      const first = await claimed(store);
      for (let replay = 0; replay < 10; replay++) await store.claim(request({ id: first.id }));
      expect((await claimed(store)).fence).toBe(first.fence + 1n);
    });

    /** Runs the one statement of `work` once more and answers the records it wrote to the log (WAL). */
    async function logRecords(work: () => Promise<unknown>): Promise<number> {
      const [statement] = await log.during(work);
      const parameters = [...statement!.parameters];
      const fresh = await store.find(String(parameters[0]));
      if (fresh?.state === 'in-progress') parameters[0] = token();
      const [plan] = await dataSource.query<object[]>(
        `EXPLAIN (ANALYZE, WAL, FORMAT JSON) ${statement!.sql}`,
        parameters,
      );
      const [, records] = /"WAL Records": ?(\d+)/.exec(JSON.stringify(plan)) ?? [];
      return Number(records);
    }

    async function statistics(): Promise<{ updates: number; hot: number }> {
      await dataSource.query('SELECT pg_stat_force_next_flush()');
      const [row] = await dataSource.query<{ updates: string; hot: string }[]>(
        `SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables
         WHERE relname = 'idempotency_record'`,
      );
      return { updates: Number(row!.updates), hot: Number(row!.hot) };
    }

    it('completes without touching an index', async () => {
      await dataSource.query('VACUUM idempotency_record');
      const before = await statistics();
      for (let n = 0; n < 60; n++) {
        const claim = await claimed(store);
        await store.renew([claim], 60_000);
        await store.complete({ ...claim, result: RESULT, ttlMs: 60_000 });
      }
      const after = await statistics();
      const updates = after.updates - before.updates;
      expect(updates).toBe(120);
      expect(after.hot - before.hot).toBeGreaterThan(updates * 0.9);
    });
  },
);

describe.each(servers.filter(({ path }) => path === 'postgres'))(
  'what TypeOrmStore leaves behind on $path',
  ({ create }) => {
    const log = new StatementLog();
    let database: TestDatabase;
    let dataSource: DataSource;
    let store: TypeOrmStore;

    beforeAll(async () => {
      database = await create();
      // One connection, so that its statistics are complete once it has reported them.
      dataSource = await database.open({ synchronize: true, logger: log, extra: { max: 1 } });
      store = new TypeOrmStore(dataSource);
      await store.init();
    });
    afterAll(() => database.drop());

    it('writes nothing for a replay', async () => {
      const { id, owner } = await claimed(store);
      await store.complete({ id, owner, result: RESULT, ttlMs: 60_000 });
      expect(await logRecords(() => store.claim(request({ id })))).toBe(0);
      // The same statement for a new key, to see that the measure measures.
      expect(await logRecords(() => store.claim(request()))).toBeGreaterThan(0);
    });

    it('draws no number for a replay', async () => {
      const first = await claimed(store);
      for (let replay = 0; replay < 10; replay++) await store.claim(request({ id: first.id }));
      expect((await claimed(store)).fence).toBe(first.fence + 1n);
    });

    /** Runs the one statement of `work` once more and answers the records it wrote to the log (WAL). */
    async function logRecords(work: () => Promise<unknown>): Promise<number> {
      const [statement] = await log.during(work);
      const parameters = [...statement!.parameters];
      const fresh = await store.find(String(parameters[0]));
      if (fresh?.state === 'in-progress') parameters[0] = token();
      const [plan] = await dataSource.query<object[]>(
        `EXPLAIN (ANALYZE, WAL, FORMAT JSON) ${statement!.sql}`,
        parameters,
      );
      const [, records] = /"WAL Records": ?(\d+)/.exec(JSON.stringify(plan)) ?? [];
      return Number(records);
    }

    async function statistics(): Promise<{ updates: number; hot: number }> {
      await dataSource.query('SELECT pg_stat_force_next_flush()');
      const [row] = await dataSource.query<{ updates: string; hot: string }[]>(
        `SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables
         WHERE relname = 'idempotency_record'`,
      );
      return { updates: Number(row!.updates), hot: Number(row!.hot) };
    }

    it('completes without touching an index', async () => {
      await dataSource.query('VACUUM idempotency_record');
      const before = await statistics();
      for (let n = 0; n < 60; n++) {
        const claim = await claimed(store);
        await store.renew([claim], 60_000);
        await store.complete({ ...claim, result: RESULT, ttlMs: 60_000 });
      }
      const after = await statistics();
      const updates = after.updates - before.updates;
      expect(updates).toBe(120);
      expect(after.hot - before.hot).toBeGreaterThan(updates * 0.9);
    });
  },
);
