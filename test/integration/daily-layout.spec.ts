import { randomBytes } from 'node:crypto';
import { tableSize } from '../../src/cli/table-size.js';
import { TypeOrmStore, idempotencyMigrations, idempotencyRecord } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { DailyTable, idOf } from '../support/daily-table.js';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import { claimed, request, storePaths, token } from '../support/typeorm-stores.js';

const describeDaily = DailyTable.path === undefined ? describe.skip : describe;
const NASTY = { table: `re"co\`rd'; DROP TABLE x; --`, schema: `sch"ema'` };

describeDaily('the migration to daily partitions', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createTestDatabase('postgres');
  });
  afterEach(() => database.drop());

  async function open(options: object = {}): Promise<[DataSource, TypeOrmStore]> {
    const dataSource = await database.open({
      migrations: idempotencyMigrations({ ...options, dailyPartitions: true }),
    });
    await dataSource.runMigrations();
    const store = new TypeOrmStore(dataSource, options);
    await store.init();
    return [dataSource, store];
  }

  async function today(dataSource: DataSource): Promise<number> {
    const [row] = await dataSource.query<{ day: number }[]>(
      'SELECT floor(extract(epoch FROM clock_timestamp()) / 86400)::int AS day',
    );
    return row!.day;
  }

  it('keeps every row, whichever day it is of, there and back', async () => {
    const dataSource = await database.open({ synchronize: true });
    const store = new TypeOrmStore(dataSource, { scopeIndex: true });
    await store.init();
    const day = await today(dataSource);
    for (const each of [0, 1, day - 40, day - 31, day - 2, day, day + 7, day + 8, 0xffff]) {
      const claim = await claimed(store, { id: idOf(each) });
      await store.complete({ ...claim, result: Buffer.from('result'), ttlMs: 3_600_000 });
    }
    const running = await claimed(store, { id: idOf(day) });
    const rows = await all(dataSource);
    const [, divide] = idempotencyMigrations({ dailyPartitions: true });
    const runner = dataSource.createQueryRunner();
    await new divide!().up(runner);
    expect(await all(dataSource)).toEqual(rows);
    expect(await parts(dataSource)).toEqual({
      default: 4,
      undated: 1,
      [String(day - 31)]: 1,
      [String(day - 2)]: 1,
      [String(day)]: 2,
      ...Object.fromEntries([1, 2, 3, 4, 5, 6].map((n) => [String(day + n), 0])),
      [String(day + 7)]: 1,
    });
    // those who were there before go on
    expect(await store.complete({ ...running, result: null, ttlMs: 3_600_000 })).toEqual({
      applied: true,
    });
    expect(await store.scopeWarning()).toBeUndefined();
    const after = await all(dataSource);
    await new divide!().down(runner);
    await runner.release();
    expect(await all(dataSource)).toEqual(after);
    expect(await parts(dataSource)).toEqual({});
    expect(await store.scopeWarning()).toBeUndefined();
    expect(await indexes(dataSource)).toEqual([
      'idempotency_record_pkey',
      'idempotency_record_scope',
      'idempotency_record_sweep',
    ]);
    expect(await store.maintain()).toEqual({ deleted: 0 });
  });

  it('never lets clean-up that began before it delete what is live', async () => {
    const dataSource = await database.open({ synchronize: true });
    const store = new TypeOrmStore(dataSource);
    await store.init();
    const day = await today(dataSource);
    const live: string[] = [];
    for (const each of [0, day, 0xffff]) {
      await claimed(store, { id: idOf(each), leaseMs: 1, ttlMs: 1 });
      live.push((await claimed(store, { id: idOf(each) })).id);
    }
    // the place of a row that is over in one partition is that of a live one in another
    const [, divide] = idempotencyMigrations({ dailyPartitions: true });
    const runner = dataSource.createQueryRunner();
    await new divide!().up(runner);
    await runner.query(`
      CREATE TABLE turned AS SELECT * FROM idempotency_record_default;
      TRUNCATE idempotency_record_default;
      INSERT INTO idempotency_record SELECT * FROM turned ORDER BY sweep_at DESC`);
    await runner.release();
    while ((await store.deleteExpired(100)) > 0);
    for (const id of live) expect(await store.find(id)).not.toBeNull();
  });

  it('takes names of any kind, and gives its indexes theirs', async () => {
    const [dataSource, store] = await inSchema(NASTY);
    await claimed(store);
    expect(await store.maintain()).toEqual({ deleted: 0 });
    expect(await indexes(dataSource, NASTY.table)).toEqual([
      `${NASTY.table}_pkey`,
      `${NASTY.table}_sweep`,
    ]);
    const longest = { table: 'x'.repeat(53), scopeIndex: true };
    const [, long] = await open(longest);
    await claimed(long);
    expect(await long.maintain()).toEqual({ deleted: 0 });
    expect(await indexes(dataSource, longest.table)).toHaveLength(3);
  });

  async function inSchema(options: { schema: string }): Promise<[DataSource, TypeOrmStore]> {
    const dataSource = await database.open();
    await dataSource.query(`CREATE SCHEMA "${options.schema.replaceAll('"', '""')}"`);
    return open(options);
  }

  it('agrees with synchronize, with the entity and without it', async () => {
    await open();
    const entities = [idempotencyRecord('postgres')];
    for (const extra of [{ entities }, {}]) {
      const dataSource = await database.open({ synchronize: true, ...extra });
      const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
      expect(upQueries.map(({ query }) => query)).toEqual([]);
      const store = new TypeOrmStore(dataSource);
      await store.init();
      await dataSource.synchronize();
      expect(Object.keys(await parts(dataSource))).toHaveLength(10);
      await claimed(store);
    }
  });

  it('tells its size with that of its partitions', async () => {
    const [dataSource, store] = await open();
    const { indexBytes } = (await tableSize(dataSource, 'postgres', {}))!;
    const claim = await claimed(store);
    await store.complete({ ...claim, result: randomBytes(100_000), ttlMs: 60_000 });
    const size = (await tableSize(dataSource, 'postgres', {}))!;
    expect(size.tableBytes).toBeGreaterThan(100_000);
    expect(size.indexBytes).toBeGreaterThan(indexBytes);
  });

  it('grants again what was granted on the table', async () => {
    const role = `daily_${token()}`;
    const dataSource = await database.open({ synchronize: true });
    await new TypeOrmStore(dataSource).init();
    await dataSource.query(
      `CREATE ROLE ${role}; GRANT SELECT, INSERT ON idempotency_record TO ${role} WITH GRANT OPTION;
       GRANT SELECT ON idempotency_record TO PUBLIC`,
    );
    const grants = (): Promise<unknown> =>
      dataSource.query(
        `SELECT grantee, privilege_type, is_grantable FROM information_schema.role_table_grants
         WHERE table_name = 'idempotency_record' ORDER BY 1, 2`,
      );
    try {
      const before = await grants();
      await open();
      expect(await grants()).toEqual(before);
    } finally {
      await dataSource.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  it.each(storePaths().filter(({ path }) => path === 'sqlite' || path === 'mariadb'))(
    'says on $path that it is for PostgreSQL',
    async ({ create }) => {
      const other = await create();
      try {
        const [, divide] = idempotencyMigrations({ dailyPartitions: true });
        const runner = (await other.open()).createQueryRunner();
        await expect(new divide!().up(runner)).rejects.toMatchObject({
          code: 'IDEMPOTENCY_MISCONFIGURED',
          message: expect.stringMatching(/^Daily partitions are for PostgreSQL, and this is /),
        });
      } finally {
        await other.drop();
      }
    },
  );

  it('opens only the partitions that a statement is about', async () => {
    const [dataSource] = await open();
    const alone = await database.open({ poolSize: 1 });
    const store = new TypeOrmStore(alone);
    await store.init();
    const day = await today(dataSource);
    const runner = dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query(
      `LOCK TABLE ONLY idempotency_record_undated, ONLY idempotency_record_default IN ACCESS EXCLUSIVE MODE`,
    );
    for (let n = 0; n < 20; n++) {
      const ids = [idOf(day), idOf(day), idOf(day)];
      const claims = ids.map((id) => request({ id }));
      await store.claimMany(claims);
      await store.renew(claims, 60_000);
      await Promise.all(ids.map((id) => store.find(id)));
      await store.completeMany(claims.map((claim) => ({ ...claim, result: null })));
      const claim = await claimed(store, { id: idOf(day) });
      await store.keepSteps(claim, new Uint8Array([1]));
      await store.release(claim);
      await store.complete({ ...(await claimed(store, { id: claim.id })), result: null });
      await transaction(store, idOf(day));
      await store.ping();
      await store.check();
    }
    await runner.rollbackTransaction();
    await runner.release();
  });

  async function transaction(store: TypeOrmStore, id: string): Promise<void> {
    const asked = request({ id });
    const begun = await store.transactions.begin(asked, () => undefined);
    if (begun.type !== 'claimed') throw new Error('expected to win');
    expect(await begun.transaction.complete({ ...asked, result: null })).toBe(true);
    await begun.transaction.commit();
  }

  it('locks by the digest of an id, not by its day', async () => {
    const [, store] = await open();
    const half = idOf(20_000).slice(0, 16);
    const ids = [half + token().slice(16), half + token().slice(16)];
    const begun = await Promise.all(
      ids.map((id) => store.transactions.begin(request({ id }), () => undefined)),
    );
    expect(begun.map(({ type }) => type)).toEqual(['claimed', 'claimed']);
    for (const each of begun) if (each.type === 'claimed') await each.transaction.rollback();
  });
});

async function all(dataSource: DataSource): Promise<unknown> {
  return dataSource.query('SELECT * FROM idempotency_record ORDER BY id');
}

/** How many rows are in which partition. Days are those since 1970. */
async function parts(dataSource: DataSource): Promise<Record<string, number>> {
  const tables = await dataSource.query<{ name: string }[]>(
    `SELECT relname AS name FROM pg_inherits JOIN pg_class ON oid = inhrelid
     WHERE inhparent = 'idempotency_record'::regclass`,
  );
  const counts: Record<string, number> = {};
  for (const { name } of tables) {
    const [row] = await dataSource.query<{ n: number }[]>(`SELECT count(*)::int AS n FROM ${name}`);
    const suffix = name.replace('idempotency_record_', '');
    const date = suffix.replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3');
    counts[date === suffix ? suffix : String(Date.parse(date) / 86_400_000)] = row!.n;
  }
  return counts;
}

async function indexes(dataSource: DataSource, table = 'idempotency_record'): Promise<string[]> {
  const rows = await dataSource.query<{ name: string }[]>(
    `SELECT i.relname AS name FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
     JOIN pg_class t ON t.oid = x.indrelid WHERE t.relname = $1 ORDER BY 1`,
    [table],
  );
  return rows.map(({ name }) => name);
}
