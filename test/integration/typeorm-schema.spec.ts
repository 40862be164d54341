import {
  CreateIdempotencyRecord1764000000000,
  IdempotencyRecord,
  TypeOrmStore,
  idempotencyMigrations,
  idempotencyRecord,
} from 'nestjs-idempotency/typeorm';
import { DataSource, type QueryRunner } from 'typeorm';
import { IdempotencyError } from '../../src/engine/errors.js';
import { claimed, request, storePaths } from '../support/typeorm-stores.js';
import type { TestDatabase } from '../support/databases.js';
import { StatementLog } from '../support/typeorm-statement-log.js';

const databases = storePaths().filter(({ path }) => path !== 'mysql-statements');
const NASTY = `re"co\`rd'; DROP TABLE x; --`;

describe.each(databases)('the table of TypeOrmStore on $path', ({ create, path }) => {
  let database: TestDatabase;
  const entityType = path.startsWith('sqlite') ? 'better-sqlite3' : (path as 'postgres');

  beforeEach(async () => {
    database = await create();
  });
  afterEach(() => database.drop());

  async function works(dataSource: DataSource, options: object = {}): Promise<string> {
    const store = new TypeOrmStore(dataSource, options);
    await store.init();
    const { id, owner } = await claimed(store);
    const result = new Uint8Array([0, 255]);
    expect(await store.complete({ id, owner, result, ttlMs: 60_000 })).toEqual({ applied: true });
    expect(await store.claim(request({ id }))).toMatchObject({ type: 'held', record: { result } });
    expect(await store.deleteExpired(10)).toBe(0);
    return 'works';
  }

  async function exists(dataSource: DataSource, table: string): Promise<boolean> {
    const runner = dataSource.createQueryRunner();
    return runner.hasTable(table).finally(() => runner.release());
  }

  it('is created, dropped and created again by its migration', async () => {
    const dataSource = await database.open({ migrations: idempotencyMigrations() });
    await dataSource.runMigrations();
    expect(await works(dataSource)).toBe('works');
    await dataSource.undoLastMigration();
    expect(await exists(dataSource, 'idempotency_record')).toBe(false);
    expect(await exists(dataSource, 'idempotency_record_fence')).toBe(false);
    await dataSource.runMigrations();
    expect(await works(dataSource)).toBe('works');
  });

  it('takes its migration over a table that synchronize has made', async () => {
    const dataSource = await database.open({
      synchronize: true,
      migrations: [CreateIdempotencyRecord1764000000000],
    });
    expect(await works(dataSource)).toBe('works');
    await dataSource.runMigrations();
    expect(await works(dataSource)).toBe('works');
  });

  it('is what the entity says it is', async () => {
    // With its type `mysql` TypeORM sees changes in every nullable column of a MariaDB table.
    const type = path === 'mysql' ? 'mariadb' : entityType;
    const dataSource = await database.open({
      type,
      migrations: idempotencyMigrations(),
      entities: [idempotencyRecord(type)],
    });
    await dataSource.runMigrations();
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
  });

  it('gets an index on scope where it is asked for, also later', async () => {
    const dataSource = await database.open();
    const store = new TypeOrmStore(dataSource, { table: 'limited' });
    const [create, index] = idempotencyMigrations({ table: 'limited', scopeIndex: true });
    await run(dataSource, (runner) => new create!().up(runner));
    await store.init();
    expect(await store.scopeWarning()).toContain('scopeIndex: true');
    await run(dataSource, (runner) => new index!().up(runner));
    expect(await store.scopeWarning()).toBeUndefined();
    expect(await works(dataSource, { table: 'limited' })).toBe('works');
    await run(dataSource, (runner) => new index!().down(runner));
    expect(await store.scopeWarning()).toBeDefined();
  });

  it('keeps that index over synchronize, which makes it too', async () => {
    const type = path === 'mysql' ? 'mariadb' : entityType;
    const options = { table: 'limited', scopeIndex: true };
    const entities = [idempotencyRecord(type, options)];
    const dataSource = await database.open({ type, synchronize: true, entities });
    const store = new TypeOrmStore(dataSource, options);
    await store.init();
    expect(await store.scopeWarning()).toBeUndefined();
    await dataSource.synchronize();
    expect(await store.scopeWarning()).toBeUndefined();
    await store.init();
  });

  async function run(
    dataSource: DataSource,
    work: (runner: QueryRunner) => Promise<void>,
  ): Promise<void> {
    const runner = dataSource.createQueryRunner();
    await work(runner).finally(() => runner.release());
  }

  it('is not read as a whole to count the keys of a scope', async () => {
    if (path.startsWith('sqlite')) return;
    const log = new StatementLog();
    const dataSource = await database.open({ synchronize: true, logging: true, logger: log });
    const store = new TypeOrmStore(dataSource, { scopeIndex: true });
    await store.init();
    await store.claimMany(
      Array.from({ length: 1_000 }, (_, n) => request({ scope: `user-${n % 200}` })),
    );
    const [statement] = await log.during(() => store.countRecords({ scope: 'user-7' }, 100));
    const { sql, parameters } = statement!;
    await dataSource.query(
      path === 'postgres' ? 'ANALYZE idempotency_record' : 'ANALYZE TABLE idempotency_record',
    );
    const plan: unknown = await dataSource.query(`EXPLAIN ${sql}`, parameters);
    expect(JSON.stringify(plan)).toContain('idempotency_record_scope');
    expect(await store.countRecords({ scope: 'user-7' }, 100)).toBe(5);
  });

  it('is made by the store on a DataSource with synchronize, with and without the entity', async () => {
    expect(await works(await database.open({ synchronize: true }))).toBe('works');
    const entities = [idempotencyRecord(entityType, { table: 'other_record' })];
    expect(
      await works(await database.open({ synchronize: true, entities }), { table: 'other_record' }),
    ).toBe('works');
  });

  it('is made once when several instances start at once', async () => {
    const one = await database.open({ synchronize: true });
    const others = path === 'sqlite' ? [one, one] : await openMany(3);
    const stores = [one, ...others].map((dataSource) => new TypeOrmStore(dataSource));
    await Promise.all(stores.map((store) => store.init()));
    const claims = await Promise.all(stores.map((store) => claimed(store)));
    expect(new Set(claims.map(({ fence }) => fence)).size).toBe(claims.length);
  });

  // TypeORM itself does not bear several instances that synchronize at once, so it is told later.
  async function openMany(count: number): Promise<DataSource[]> {
    const opened = await Promise.all(Array.from({ length: count }, () => database.open()));
    for (const dataSource of opened) dataSource.setOptions({ synchronize: true });
    return opened;
  }

  it('is asked for in a sentence when it is missing', async () => {
    const dataSource = await database.open();
    const error = await failure(new TypeOrmStore(dataSource, { table: 'my_record' }).init());
    expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
    expect(error.message).toMatch(/"my_record".*idempotencyMigrations\(\).*synchronize/);
  });

  it.each(['sweep_at', 'scope'])('is asked for when its column %s is missing', async (column) => {
    const dataSource = await database.open({ migrations: idempotencyMigrations() });
    await dataSource.runMigrations();
    const index = path === 'mariadb' || path === 'mysql' ? ' ON idempotency_record' : '';
    await dataSource.query(`DROP INDEX idempotency_record_sweep${index}`);
    await dataSource.query(`ALTER TABLE idempotency_record DROP COLUMN ${column}`);
    const error = await failure(new TypeOrmStore(dataSource).init());
    expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
    expect(error.message).toContain('older than this version');
  });

  it('is asked for when only its fence is missing', async () => {
    const dataSource = await database.open({ migrations: idempotencyMigrations() });
    await dataSource.runMigrations();
    const kind = path.startsWith('sqlite') ? 'TABLE' : 'SEQUENCE';
    await dataSource.query(`DROP ${kind} idempotency_record_fence`);
    const error = await failure(new TypeOrmStore(dataSource).init());
    expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
  });

  it('is looked at when the store is checked, and not when it is asked for its clock', async () => {
    const log = new StatementLog();
    const dataSource = await database.open({ synchronize: true, logging: true, logger: log });
    const store = new TypeOrmStore(dataSource);
    await store.init();
    await store.check();
    await dataSource.query('DROP TABLE idempotency_record');
    expect((await failure(store.check())).code).toBe('IDEMPOTENCY_MISCONFIGURED');
    // none, where the statement is the driver's own
    expect((await log.during(() => store.ping())).length).toBeLessThanOrEqual(1);
  });

  it('may have any name', async () => {
    const synchronized = await database.open({ synchronize: true });
    expect(await works(synchronized, { table: NASTY })).toBe('works');
    const migrations = [
      ...idempotencyMigrations(),
      ...idempotencyMigrations({ table: 'second' }),
      ...idempotencyMigrations({ table: `${NASTY}2` }),
    ];
    const migrated = await database.open({ migrations });
    await migrated.runMigrations();
    for (const table of ['idempotency_record', 'second', `${NASTY}2`]) {
      expect(await works(migrated, { table })).toBe('works');
    }
  });

  it.each([
    ['', /1 to 53/],
    ['x'.repeat(54), /1 to 53/],
    ['a\0b', /NUL/],
    ['a?b', /question mark/],
  ])('can not be called %j', async (table, message) => {
    const dataSource = await database.open({ synchronize: true });
    const error = await failure(new TypeOrmStore(dataSource, { table }).init());
    expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
    expect(error.message).toMatch(message);
  });

  it('may live in a schema of its own', async () => {
    if (path.startsWith('sqlite')) {
      const dataSource = await database.open({ synchronize: true });
      const error = await failure(new TypeOrmStore(dataSource, { schema: 'app' }).init());
      expect(error.message).toMatch(/SQLite has no schemas/);
      return;
    }
    const schema = `${String((await database.open()).options.database ?? 'app')}_2`;
    const quote = path === 'postgres' ? '"' : '`';
    const admin = await database.open();
    await admin.query(`CREATE SCHEMA ${quote}${schema}${quote}`);
    try {
      const options = { schema, table: 'apart_record' };
      const migrated = await database.open({
        migrations: idempotencyMigrations(options),
        entities: [idempotencyRecord(entityType, options)],
      });
      await migrated.runMigrations();
      expect(await works(migrated, options)).toBe('works');
      expect(
        await failure(new TypeOrmStore(migrated, { table: 'apart_record' }).init()),
      ).toBeInstanceOf(IdempotencyError);
      const repository = migrated.getRepository(IdempotencyRecord);
      expect(await repository.countBy({ state: 'completed' })).toBe(1);
    } finally {
      const cascade = path === 'postgres' ? ' CASCADE' : '';
      await admin.query(`DROP SCHEMA ${quote}${schema}${quote}${cascade}`);
    }
  });

  it('can be read through a repository', async () => {
    const dataSource = await database.open({
      synchronize: true,
      entities: [idempotencyRecord(entityType)],
    });
    const store = new TypeOrmStore(dataSource);
    await store.init();
    const claim = await claimed(store);
    await store.complete({ ...claim, result: new Uint8Array([1, 2]), ttlMs: 60_000 });
    const repository = dataSource.getRepository(IdempotencyRecord);
    const row = await repository.findOneByOrFail({ id: claim.id, state: 'completed' });
    expect(row).toMatchObject({
      id: claim.id,
      owner: claim.owner,
      state: 'completed',
      fence: claim.fence,
      leaseUntil: null,
      key: 'order-42',
    });
    expect(claim.now - row.claimedAt).toBeLessThan(60_000);
    expect(row.expiresAt! - row.claimedAt).toBeGreaterThanOrEqual(60_000);
    expect(row).toBeInstanceOf(IdempotencyRecord);
    expect([...row.result!]).toEqual([1, 2]);
  });
});

describe('TypeOrmStore on another database', () => {
  it('names the ones that it supports', async () => {
    const dataSource = new DataSource({ type: 'sqljs', driver: {} });
    const error = await failure(new TypeOrmStore(dataSource).init());
    expect(error.code).toBe('IDEMPOTENCY_MISCONFIGURED');
    expect(error.message).toMatch(/"sqljs".*"postgres", "mysql", "mariadb" or "better-sqlite3"/);
  });

  it('says that init() comes first', async () => {
    const store = new TypeOrmStore(() => {
      throw new Error('not called');
    });
    expect((await failure(store.ping())).code).toBe('IDEMPOTENCY_MISCONFIGURED');
  });
});

async function failure(promise: Promise<unknown>): Promise<IdempotencyError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(IdempotencyError);
  return error as IdempotencyError;
}
