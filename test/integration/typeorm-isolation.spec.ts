import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { COLUMNS } from '../../src/stores/typeorm/schema.js';
import { claimed, request, storePaths, token } from '../support/typeorm-stores.js';
import type { Path } from '../support/typeorm-stores.js';
import type { TestDatabase } from '../support/databases.js';

const postgres = storePaths().filter(({ path }) => path === 'postgres');
const mySqlFamily = storePaths().filter(({ path }) => /mysql|mariadb/.test(path));

const atLevel: (Path & { level: string; extra: object })[] = [
  ...postgres.flatMap((path) =>
    ['read committed', 'repeatable read', 'serializable'].map((level) => ({
      ...path,
      level,
      extra: {
        isolationLevel: level.toUpperCase(),
        extra: { options: `-c default_transaction_isolation=${level.replaceAll(' ', '\\ ')}` },
      },
    })),
  ),
  ...mySqlFamily.flatMap((path) =>
    ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'].map((level) => ({
      ...path,
      level,
      extra: {},
    })),
  ),
];

/** mysql2 has no option for it. Its pool shows every new connection to a listener before its first use. */
async function forEveryConnection(dataSource: DataSource, sql: string): Promise<void> {
  const { pool } = dataSource.driver as unknown as { readonly pool: MySqlPool };
  pool.on('connection', (connection) => connection.query(sql));
  await dataSource.query(sql);
}

interface MySqlPool {
  on(event: 'connection', listener: (connection: { query(sql: string): void }) => void): void;
}

describe.each(atLevel)('TypeOrmStore on $path at $level', ({ create, options, level, extra }) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let store: TypeOrmStore;

  beforeAll(async () => {
    database = await create();
    dataSource = await database.open({ synchronize: true, ...extra });
    if (database.dialect !== 'postgres') {
      await forEveryConnection(dataSource, `SET SESSION TRANSACTION ISOLATION LEVEL ${level}`);
    }
    const sql =
      database.dialect === 'postgres'
        ? `SELECT current_setting('transaction_isolation') AS level`
        : `SELECT REPLACE(@@tx_isolation, '-', ' ') AS level`;
    const levels = await Promise.all(
      Array.from({ length: 10 }, () => dataSource.query<{ level: string }[]>(sql)),
    );
    if (levels.some(([row]) => row!.level !== level)) throw new Error('not the level of the test');
    store = new TypeOrmStore(dataSource, options);
    await store.init();
  });
  afterAll(() => database.drop());

  it('lets exactly one claim of a new key win', async () => {
    for (let round = 0; round < 5; round++) {
      const id = token();
      expect(await winners(Array.from({ length: 20 }, () => id))).toEqual([id]);
    }
  });

  it('lets exactly one claim take a dead record over', async () => {
    for (let round = 0; round < 5; round++) {
      const claim = await claimed(store);
      await store.release(claim);
      expect(await winners(Array.from({ length: 20 }, () => claim.id))).toEqual([claim.id]);
    }
  });

  it('lets every key of a crowd be claimed once', async () => {
    const ids = Array.from({ length: 20 }, token);
    expect((await winners([...ids, ...ids, ...ids])).sort()).toEqual(ids.sort());
  });

  it.each([
    { end: 'commits', type: 'held' },
    { end: 'rolls back', type: 'claimed' },
  ])('waits for a claim under way, and is $type when that one $end', async ({ end, type }) => {
    const known = await claimed(store);
    const id = token();
    const runner = dataSource.createQueryRunner();
    await runner.startTransaction();
    const columns = COLUMNS.map(({ name }) => name).filter((name) => name !== 'id');
    await runner.query(
      `INSERT INTO idempotency_record (id, ${columns.join(', ')})
       SELECT ${literal(id)}, ${columns.join(', ')} FROM idempotency_record
       WHERE id = ${literal(known.id)}`,
    );
    const asked = request({ id });
    const claiming = store.claim(asked);
    await somebodyWaits();
    if (end === 'commits') await runner.commitTransaction();
    else await runner.rollbackTransaction();
    await runner.release();
    const answer = await claiming;
    expect(answer.type).toBe(type);
    expect((await store.find(id))?.owner).toBe(type === 'held' ? known.owner : asked.owner);
  });

  it('lets owners settle and cleanup run beside each other', async () => {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const claim = await claimed(store);
        expect((await store.renew([claim], 60_000)).size).toBe(1);
        await store.deleteExpired(100);
        const settle = { ...claim, result: new Uint8Array([1]), ttlMs: 60_000 };
        expect(await store.complete(settle)).toEqual({ applied: true });
      }),
    );
  });

  function literal(id: string): string {
    return database.dialect === 'postgres' ? `'${id}'::uuid` : `X'${id}'`;
  }

  async function somebodyWaits(): Promise<void> {
    const sql =
      database.dialect === 'postgres'
        ? `SELECT 1 FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock'`
        : `SELECT 1 FROM information_schema.processlist
           WHERE db = DATABASE() AND state = 'Update' AND time_ms > 20`;
    while ((await dataSource.query<object[]>(sql)).length === 0) await nextTurn();
  }

  async function winners(ids: string[]): Promise<string[]> {
    const results = await Promise.all(ids.map((id) => store.claim(request({ id }))));
    return ids.filter((_, index) => results[index]!.type === 'claimed');
  }
});

describe.each(mySqlFamily)('TypeOrmStore on $path at READ UNCOMMITTED', ({ create, options }) => {
  it('refuses to start, because it could replay what is rolled back later', async () => {
    const database = await create();
    const dataSource = await database.open({ synchronize: true });
    await forEveryConnection(
      dataSource,
      'SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED',
    );
    await expect(new TypeOrmStore(dataSource, options).init()).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining('READ COMMITTED or higher') as string,
    });
    await database.drop();
  });
});

describe.each([...postgres, ...mySqlFamily])(
  'TypeOrmStore on $path with sessions in many time zones',
  ({ path, create, options }) => {
    let database: TestDatabase;
    beforeAll(async () => {
      database = await create();
    });
    afterAll(() => database.drop());

    it('sees one lease alike everywhere', async () => {
      const zones = ['+00:00', '-05:00', '+12:00'];
      const stores = [];
      for (const zone of zones) {
        const dataSource = await database.open({
          synchronize: true,
          // What the driver makes of dates; and then what the server makes of them.
          ...(path === 'postgres'
            ? { extra: { options: `-c TimeZone=${zone}` } }
            : { timezone: zone }),
        });
        if (path !== 'postgres') await forEveryConnection(dataSource, `SET time_zone = '${zone}'`);
        const store = new TypeOrmStore(dataSource, options);
        await store.init();
        stores.push(store);
      }
      for (const store of stores) {
        const claim = await claimed(store, { leaseMs: 60_000 });
        expect(Math.abs(claim.now - Date.now())).toBeLessThan(30_000);
        for (const other of stores) {
          const asked = await other.claim(request({ id: claim.id }));
          if (asked.type !== 'held') throw new Error('expected to be held off');
          const left = asked.record.leaseUntil! - asked.now;
          expect(left).toBeGreaterThan(30_000);
          expect(left).toBeLessThanOrEqual(60_000);
        }
      }
    });
  },
);

describe.each(storePaths())('the errors of TypeOrmStore on $path', ({ create, options }) => {
  it('hold neither the key nor the body', async () => {
    const database = await create();
    const dataSource = await database.open({ synchronize: true });
    const store = new TypeOrmStore(dataSource, options);
    await store.init();
    await dataSource.query('DROP TABLE idempotency_record');
    const error: unknown = await store
      .claim(request({ key: 'canary-key', scope: 'canary-scope' }))
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
    const shown = inspect(error, { depth: 10, showHidden: true }).toLowerCase();
    for (const secret of ['canary', Buffer.from('canary').toString('hex')]) {
      expect(shown).not.toContain(secret);
    }
    await database.drop();
    await expect(store.ping()).rejects.toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
  });
});
