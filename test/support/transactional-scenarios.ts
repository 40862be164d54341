import { TestGate } from './gate.js';
import { EntryEntity, type Ledger } from './ledger.js';
import type { EntityManager } from 'typeorm';

/** What holds of effects and records on every way to a database. */
export function transactionalScenarios(open: () => Promise<Ledger>): void {
  let ledger: Ledger;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    ledger = await open();
  });
  afterAll(() => ledger.close());
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
  });

  const run = <T>(work: () => Promise<T>, name = key): Promise<T> =>
    ledger.service.execute({ key: name }, work);
  const add = async (name: string): Promise<void> => {
    await ledger.entries.insert({ name });
  };
  /** What TypeORM answers of an insert is no plain data. */
  const only = (work: (ledger: Ledger) => Promise<unknown>) => async (): Promise<void> => {
    await work(ledger);
  };

  it.each<[string, (ledger: Ledger) => Promise<unknown>]>([
    ['an injected repository', ({ entries }) => entries.save({ name: 'a' })],
    ['insert() of a repository', ({ entries }) => entries.insert({ name: 'a' })],
    [
      'the manager of the DataSource',
      ({ dataSource }) => dataSource.manager.save(EntryEntity, { name: 'a' }),
    ],
    [
      'a query builder',
      ({ dataSource }) =>
        dataSource.createQueryBuilder().insert().into(EntryEntity).values({ name: 'a' }).execute(),
    ],
    [
      'DataSource.query()',
      ({ dataSource }) => dataSource.query(`INSERT INTO entry (name) VALUES ('a')`),
    ],
    [
      'DataSource.transaction()',
      ({ dataSource }) =>
        dataSource.transaction((manager) => manager.insert(EntryEntity, { name: 'a' })),
    ],
    [
      'a query runner with a transaction of its own',
      async ({ dataSource }) => {
        const runner = dataSource.createQueryRunner();
        await runner.connect();
        await runner.startTransaction();
        await runner.manager.insert(EntryEntity, { name: 'a' });
        await runner.commitTransaction();
        await runner.release();
      },
    ],
    [
      'transactions in transactions',
      ({ dataSource }) =>
        dataSource.transaction((outer) =>
          outer.transaction(async (inner) => {
            await outer.insert(EntryEntity, { name: 'b' });
            await inner.transaction((innermost) => innermost.insert(EntryEntity, { name: 'a' }));
          }),
        ),
    ],
  ])('commits with the record, and rolls back with it, what goes through %s', async (_, work) => {
    const failing = run(async () => {
      await work(ledger);
      expect(await ledger.entries.countBy({ name: 'a' })).toBe(1);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual([]);

    await run(only(work));
    expect(await ledger.committed()).toContain('a');
    await run(only(work));
    expect(await ledger.entries.countBy({ name: 'a' })).toBe(1);
  });

  it('undoes a nested transaction alone', async () => {
    await run(async () => {
      await add('a');
      const failing = ledger.dataSource.transaction(async (manager) => {
        await manager.insert(EntryEntity, { name: 'b' });
        throw new Error('no');
      });
      await expect(failing).rejects.toThrow('no');
      await add('c');
    });
    expect(await ledger.committed()).toEqual(['a', 'c']);
  });

  it('refuses a nested transaction that asks for more isolation than there is', async () => {
    await run(async () => {
      await add('a');
      const nested = ledger.dataSource.transaction('SERIALIZABLE', () => add('b'));
      await expect(nested).rejects.toThrow("isolationLevel: 'SERIALIZABLE'");
      const runner = ledger.dataSource.createQueryRunner();
      await expect(runner.startTransaction('SERIALIZABLE')).rejects.toThrow('Leave the level out');
      await runner.release();
    });
    expect(await ledger.committed()).toEqual(['a']);
  });

  it('lets queries and nested transactions run in parallel', async () => {
    const part = (name: string, fails: boolean) =>
      ledger.dataSource.transaction(async (manager: EntityManager) => {
        await manager.insert(EntryEntity, { name });
        await ledger.entries.insert({ name: `${name}-injected` });
        await manager.transaction((inner) => inner.insert(EntryEntity, { name: `${name}-inner` }));
        if (fails) throw new Error(name);
      });
    await run(async () => {
      const results = await Promise.allSettled([
        add('x'),
        part('a', false),
        part('b', true),
        add('y'),
        part('c', false),
        ledger.entries.find(),
      ]);
      expect(results.map(({ status }) => status === 'fulfilled')).toEqual([
        true,
        true,
        false,
        true,
        true,
        true,
      ]);
    });
    expect(await ledger.committed()).toEqual([
      'a',
      'a-injected',
      'a-inner',
      'c',
      'c-injected',
      'c-inner',
      'x',
      'y',
    ]);
    // the connection went back whole
    await run(() => add('z'), `${key}-next`);
    expect(await ledger.committed()).toContain('z');
  });

  it('tells a duplicate at once, holding no connection', async () => {
    const gate = new TestGate();
    const first = run(async () => {
      await add('a');
      await gate.pass();
    });
    await gate.reached;
    await expect(run(() => add('b'))).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    gate.open();
    await first;
    await run(() => add('b'));
    expect(await ledger.committed()).toEqual(['a']);
  });

  it('answers duplicates that wait with the one result', async () => {
    const gate = new TestGate();
    let runs = 0;
    const work = async () => {
      await gate.pass();
      return (runs += 1);
    };
    const ask = () =>
      ledger.service.execute({ key, onConcurrent: 'wait', waitTimeout: '5s' }, work);
    const all = [ask(), ask(), ask()];
    await gate.reached;
    gate.open();
    expect(await Promise.all(all)).toEqual([1, 1, 1]);
  });

  it('keeps a failure that is to be kept, and undoes what it did', async () => {
    const work = async () => {
      await add('a');
      throw new Error('sold out');
    };
    const options = { key, errors: () => 'store' as const };
    await expect(ledger.service.execute(options, work)).rejects.toThrow('sold out');
    await expect(ledger.service.execute(options, () => add('b'))).rejects.toThrow('sold out');
    expect(await ledger.committed()).toEqual([]);
  });

  it('lets an inner operation commit and roll back with the outer one', async () => {
    const inner = () => run(() => add('inner'), `${key}-inner`);
    const failing = run(async () => {
      await inner();
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual([]);
    await run(async () => {
      await inner();
      await inner();
    });
    await inner();
    expect(await ledger.committed()).toEqual(['inner']);
  });
}
