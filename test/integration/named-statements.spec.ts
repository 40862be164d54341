import type { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { QueryRunner } from 'typeorm';
import type { TestDatabase } from '../support/databases.js';
import { openLedger, type Ledger } from '../support/ledger.js';
import { claimed, openStore, request, storePaths, token } from '../support/typeorm-stores.js';

const RESULT = new Uint8Array([1, 2, 3]);
const servers = storePaths().filter(({ path }) => path === 'postgres');

interface Prepared {
  readonly name: string;
  readonly generic_plans: string;
}

describe.each(servers)('the statements that TypeOrmStore sends to $path', ({ create }) => {
  let database: TestDatabase;
  let store: TypeOrmStore;
  beforeEach(async () => {
    database = await create();
    store = await openStore(database, { extra: { poolSize: 1 } });
  });
  afterEach(() => database.drop());

  /** On the one connection there is. */
  async function onConnection<T>(work: (runner: QueryRunner) => Promise<T>): Promise<T> {
    const runner = store.source().createQueryRunner();
    try {
      return await work(runner);
    } finally {
      await runner.release();
    }
  }

  const prepared = (): Promise<Prepared[]> =>
    onConnection((runner) =>
      runner.query(
        `SELECT name, generic_plans FROM pg_prepared_statements
         WHERE name LIKE 'idempotency\\_%' AND statement LIKE '%INSERT INTO%'`,
      ),
    );

  async function completed(): Promise<string> {
    const claim = await claimed(store);
    expect(await store.complete({ ...claim, result: RESULT, ttlMs: 60_000 })).toEqual({
      applied: true,
    });
    return claim.id;
  }

  async function replay(id: string, times: number): Promise<void> {
    for (let time = 0; time < times; time++) {
      expect(await store.claim(request({ id }))).toMatchObject({ type: 'held' });
    }
  }

  it('are planned once', async () => {
    await replay(await completed(), 20);
    const [claim, ...others] = await prepared();
    expect(others).toEqual([]);
    expect(Number(claim?.generic_plans)).toBeGreaterThan(10);
  });

  it('run once, and have no names from then on, when the connection knows none of them', async () => {
    const id = await completed();
    await onConnection((runner) => runner.query('DEALLOCATE ALL'));
    const claim = await claimed(store);
    expect(claim).toMatchObject({ attempt: 1, takenOver: false });
    await store.complete({ ...claim, result: RESULT, ttlMs: 60_000 });
    await replay(id, 2);
    expect(await prepared()).toEqual([]);
  });

  it('run when a name is taken by another client of the same connection', async () => {
    await completed();
    const [{ name }] = (await prepared()) as [Prepared];
    await store.source().destroy();
    await store.source().initialize();
    await onConnection((runner) => runner.query(`PREPARE ${name} AS SELECT 1`));
    await replay(await completed(), 2);
  });

  it('are planned anew when the table has grown', async () => {
    const id = await completed();
    await onConnection((runner) => runner.query('ANALYZE idempotency_record'));
    await replay(id, 10);
    const plan = async (): Promise<string> => {
      const [{ name }] = (await prepared()) as [Prepared];
      const nothing = Array(6).fill('NULL').join(', ');
      const values = `'${token()}', '${token()}', ${nothing}, 0`;
      const rows = await onConnection((runner) =>
        runner.query(`EXPLAIN EXECUTE ${name}(${values})`),
      );
      return JSON.stringify(rows);
    };
    expect(await plan()).toContain('Seq Scan');
    await onConnection((runner) =>
      runner.query(
        `INSERT INTO idempotency_record (id, owner, fingerprint, state, fence, attempts_started, attempts_finished, claimed_at,
           expires_at, sweep_at)
         SELECT gen_random_uuid(), gen_random_uuid(), '', 1, n, 1, 1, 0, 0, 0 FROM generate_series(1, 20000) n`,
      ),
    );
    await replay(id, 250);
    expect(await plan()).not.toContain('Seq Scan');
  });

  it('have no names in an open transaction, which a refusal would end', async () => {
    const ledger = await openLedger('postgres');
    try {
      const run = (key: string, mode: 'lease' | 'transactional', work: () => Promise<unknown>) =>
        ledger.service.execute({ key, mode }, work);
      await run('before', 'lease', async () => 'known');
      await run('outer', 'transactional', async () => {
        await ledger.dataSource.query('DEALLOCATE ALL');
        await run('inner', 'lease', () => ledger.entries.insert({ name: 'a' }));
      });
      expect(await ledger.committed()).toEqual(['a']);
    } finally {
      await ledger.close();
    }
  });

  describe('that begin a transaction', () => {
    const run = async (ledger: Ledger, name: string): Promise<void> => {
      await ledger.service.execute({ key: name, mode: 'transactional' }, async () => {
        await ledger.entries.insert({ name });
      });
    };
    const plans = (ledger: Ledger): Promise<Prepared[]> =>
      ledger.dataSource.query(
        `SELECT name, generic_plans FROM pg_prepared_statements
         WHERE from_sql AND name LIKE 'idempotency\\_%' AND cardinality(parameter_types) = 8`,
      );
    let ledger: Ledger;
    beforeEach(async () => {
      ledger = await openLedger('postgres', { poolSize: 1 });
    });
    afterEach(() => ledger.close());

    it('are planned once', async () => {
      const names = Array.from(
        { length: 20 },
        (_, number) => `n${String(number).padStart(2, '0')}`,
      );
      for (const name of names) await run(ledger, name);
      const [claim, ...others] = await plans(ledger);
      expect(others).toEqual([]);
      expect(Number(claim?.generic_plans)).toBeGreaterThan(10);
      expect(await ledger.committed()).toEqual(names);
    });

    it('are sent in full, from then on too, when the connection knows none of them', async () => {
      await run(ledger, 'a');
      await ledger.dataSource.query('DEALLOCATE ALL');
      await run(ledger, 'b');
      await run(ledger, 'c');
      expect(await plans(ledger)).toEqual([]);
      expect(await ledger.committed()).toEqual(['a', 'b', 'c']);
    });

    it('are sent in full when a name is taken by another client of the same connection', async () => {
      await run(ledger, 'a');
      const [{ name }] = (await plans(ledger)) as [Prepared];
      await ledger.dataSource.destroy();
      await ledger.dataSource.initialize();
      await ledger.dataSource.query(`PREPARE ${name} AS SELECT 1`);
      await run(ledger, 'b');
      expect(await ledger.committed()).toEqual(['a', 'b']);
    });

    it('are planned anew after so many uses', async () => {
      await run(ledger, 'a');
      await ledger.dataSource.query('ANALYZE idempotency_record');
      for (let time = 0; time < 20; time++) await run(ledger, 'a');
      const [{ generic_plans: before }] = (await plans(ledger)) as [Prepared];
      expect(Number(before)).toBeGreaterThan(10);
      const explained = async (): Promise<string> => {
        const [{ name }] = (await plans(ledger)) as [Prepared];
        const values = `'${token()}', '${token()}', '', NULL, NULL, NULL, 1, 1`;
        return JSON.stringify(await ledger.dataSource.query(`EXPLAIN EXECUTE ${name}(${values})`));
      };
      expect(await explained()).toContain('Seq Scan');
      await ledger.dataSource.query(
        `INSERT INTO idempotency_record (id, owner, fingerprint, state, fence, attempts_started, attempts_finished, claimed_at,
           expires_at, sweep_at)
         SELECT gen_random_uuid(), gen_random_uuid(), '', 1, n, 1, 1, 0, 0, 0 FROM generate_series(1, 20000) n`,
      );
      for (let time = 0; time < 250; time++) await run(ledger, 'a');
      expect(await explained()).not.toContain('Seq Scan');
    });
  });
});
