import 'reflect-metadata';
import { once } from 'node:events';
import { Logger } from '@nestjs/common';
import type { IdempotencyHooks } from 'nestjs-idempotency';
import {
  addTransactionalDataSource,
  initializeTransactionalContext,
  Propagation,
  runInTransaction,
  StorageDriver,
  deleteDataSourceByName,
} from 'typeorm-transactional';
import { EntryEntity, ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';
import { startProgram } from '../support/program.js';

const told: string[] = [];
const hooks: IdempotencyHooks = { onEscaped: ({ escape }) => void told.push(escape) };

beforeAll(() => {
  Logger.overrideLogger(false);
  initializeTransactionalContext({ storageDriver: StorageDriver.ASYNC_LOCAL_STORAGE });
});

const paths = ledgerPaths().filter((path) => path === 'postgres' || path === 'mariadb');

describe.each(paths)('beside typeorm-transactional on %s', (path) => {
  let ledger: Ledger;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    ledger = await openLedger(path, { hooks, poolSize: 3 });
    addTransactionalDataSource(ledger.dataSource);
  });
  afterAll(async () => {
    deleteDataSourceByName('default');
    await ledger.close();
  });
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
    told.length = 0;
  });

  const run = (work: () => Promise<unknown>): Promise<void> =>
    ledger.service.execute({ key }, async () => void (await work()));
  // made when it is asked for, as @InjectRepository() does in a module that is loaded later
  const add = (name: string) => ledger.dataSource.getRepository(EntryEntity).insert({ name });
  const no = () => Promise.reject(new Error('no'));
  const ways = [Propagation.REQUIRED, Propagation.REQUIRES_NEW, Propagation.NESTED];

  it.each(ways)('%s inside of an operation is a part of it', async (propagation) => {
    const inner = (name: string, work: () => Promise<unknown> = async () => {}) =>
      runInTransaction(
        async () => {
          await add(name);
          await work();
        },
        { propagation },
      );
    await expect(
      run(async () => {
        await inner('a');
        return no();
      }),
    ).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual([]);
    await run(async () => {
      await inner('a');
      await inner('b', no).catch(() => undefined);
      await inner('c', () => inner('d'));
      await add('e');
    });
    expect(await ledger.committed()).toEqual(['a', 'c', 'd', 'e']);
    expect(told).toEqual([]);
  });

  it('an operation inside of @Transactional() is reported, for its work goes to that one', async () => {
    await runInTransaction(() => run(() => add('a')));
    expect(told).toContain('outside');
    expect(await ledger.committed()).toEqual(['a']);
  });
});

describe.each(paths)('beside @nestjs-cls/transactional on %s', (path) => {
  it('withTransaction and tx inside of an operation are parts of it, and one around it is reported', async () => {
    const ledger = await openLedger(path);
    try {
      // its CommonJS requires Nest's modules, which Jest cannot do
      const child = startProgram('transactional-beside-cls', ledger.database.options);
      const ended = once(child, 'exit');
      const [report] = (await Promise.race([once(child, 'message'), ended])) as [unknown];
      expect(report).toEqual({
        failed: { error: 'no', entries: [], escapes: [] },
        inside: { entries: ['a', 'b', 'd', 'e', 'f'], escapes: [] },
        around: { entries: ['a'], escapes: ['outside'] },
      });
      await ended;
    } finally {
      await ledger.close();
    }
  });
});
