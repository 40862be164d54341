import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { claimed, request, storePaths } from '../support/typeorm-stores.js';
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
      const pool = { extra: { max: 4, connectionLimit: 4 } };
      dataSource = await database.open({ synchronize: true, logging: true, logger: log, ...pool });
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
      expect(await log.count(() => store.claim(claim))).toBe(plainMySql ? 4 : 1);
      const settle = { ...claim, result: RESULT, ttlMs: 60_000 };
      expect(await log.count(() => store.complete(settle))).toBe(1);
      expect(await log.count(() => store.claim(request({ id: claim.id })))).toBe(1);
      const two = [await claimed(store), await claimed(store)];
      expect(await log.count(() => store.renew(two, 1_000))).toBe(
        store.name === 'postgres' ? 1 : 2,
      );
      expect(await log.count(() => store.renew([], 1_000))).toBe(0);
    });
  },
);

describe.each(servers.filter(({ path }) => path === 'postgres'))(
  'what TypeOrmStore leaves behind on $path',
  ({ create }) => {
    let database: TestDatabase;
    let dataSource: DataSource;
    let store: TypeOrmStore;

    beforeAll(async () => {
      database = await create();
      // One connection, so that its statistics are complete once it has reported them.
      dataSource = await database.open({ synchronize: true, extra: { max: 1 } });
      store = new TypeOrmStore(dataSource);
      await store.init();
    });
    afterAll(() => database.drop());

    async function statistics(): Promise<Record<string, number>> {
      await dataSource.query('SELECT pg_stat_force_next_flush()');
      const [row] = await dataSource.query<Record<string, string>[]>(
        `SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
         WHERE relname = 'idempotency_record'`,
      );
      return Object.fromEntries(Object.entries(row!).map(([name, value]) => [name, Number(value)]));
    }

    it('writes nothing for a replay: no row, no transaction, no number of the fence', async () => {
      const { id, owner } = await claimed(store);
      await store.complete({ id, owner, result: RESULT, ttlMs: 60_000 });
      const state = async (): Promise<unknown> => {
        const [row] = await dataSource.query<object[]>(
          `SELECT (SELECT last_value FROM idempotency_record_fence) AS fence, (SELECT xmin FROM idempotency_record WHERE id = $1)::text AS version`,
          [id],
        );
        return row;
      };
      const written = async (): Promise<number> => {
        const [row] = await dataSource.query<{ records: string }[]>(
          'SELECT wal_records AS records FROM pg_stat_wal',
        );
        return Number(row!.records);
      };
      const before = await state();
      const tuples = await statistics();
      for (let replay = 0; replay < 100; replay++) await store.claim(request({ id }));
      expect(await state()).toEqual(before);
      expect(await statistics()).toEqual(tuples);
      // The server has other databases, so only a bound can be told: a write each would be 100.
      const wal = await written();
      for (let replay = 0; replay < 100; replay++) await store.claim(request({ id }));
      await statistics();
      expect((await written()) - wal).toBeLessThan(10_000);
    });

    it('completes without touching an index', async () => {
      await dataSource.query('VACUUM idempotency_record');
      const before = await statistics();
      for (let n = 0; n < 200; n++) {
        const claim = await claimed(store);
        await store.renew([claim], 60_000);
        await store.complete({ ...claim, result: RESULT, ttlMs: 60_000 });
      }
      const after = await statistics();
      const updates = after.n_tup_upd! - before.n_tup_upd!;
      expect(updates).toBe(400);
      expect(after.n_tup_hot_upd! - before.n_tup_hot_upd!).toBeGreaterThan(updates * 0.9);
    });
  },
);
