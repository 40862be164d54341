import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { TestGate } from '../support/gate.js';
import { EntryEntity, openLedger, type Ledger } from '../support/ledger.js';
import { request } from '../support/typeorm-stores.js';

beforeAll(() => Logger.overrideLogger(false));

/** Whether it has ended by the time that everything which could run has run. */
async function isWaiting(promise: Promise<unknown>): Promise<boolean> {
  let waiting = true;
  const ended = (): void => void (waiting = false);
  promise.then(ended, ended);
  for (let turns = 0; turns < 50; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  return waiting;
}

describe.each(['sqlite', 'sqlite-file'] as const)('the one connection of %s', (path) => {
  let ledger: Ledger;
  let gate: TestGate;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    ledger = await openLedger(path);
  });
  afterAll(() => ledger.close());
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    gate = new TestGate();
    await ledger.entries.clear();
  });

  const add = (name: string) => ledger.entries.insert({ name });
  const running = (end: () => Promise<void>) =>
    ledger.service.execute({ key }, async () => {
      await add('mine');
      await gate.pass();
      await end();
    });

  const strangers: [string, () => Promise<unknown>][] = [
    ['a statement', () => add('theirs')],
    [
      'a transaction',
      () =>
        ledger.dataSource.transaction((manager) => manager.insert(EntryEntity, { name: 'theirs' })),
    ],
    [
      'a lease',
      () =>
        ledger.service.execute({ key: `${key}-lease`, mode: 'lease' }, async () => {
          await add('theirs');
        }),
    ],
    [
      'another operation',
      () =>
        ledger.service.execute({ key: `${key}-other` }, async () => {
          await add('theirs');
        }),
    ],
  ];

  describe.each(strangers)('%s of somebody else', (_, work) => {
    it('waits for the transaction, and is not rolled back with it', async () => {
      const failing = running(() => Promise.reject(new Error('no')));
      await gate.reached;
      const theirs = work();
      expect(await isWaiting(theirs)).toBe(true);
      gate.open();
      await expect(failing).rejects.toThrow('no');
      await theirs;
      expect(await ledger.committed()).toEqual(['theirs']);
    });

    it('is there beside what was committed', async () => {
      const mine = running(async () => void (await add('more')));
      await gate.reached;
      const theirs = work();
      gate.open();
      await Promise.all([mine, theirs]);
      expect(await ledger.committed()).toEqual(['mine', 'more', 'theirs']);
    });
  });

  it('lets every transaction begin that has waited, whenever it came', async () => {
    const mine = running(async () => {});
    await gate.reached;
    const theirs = [];
    for (const name of ['a', 'b', 'c', 'd']) {
      const isSave = name === 'b' || name === 'd';
      const work = isSave
        ? ledger.entries.save({ name })
        : ledger.dataSource.transaction(async (manager) => {
            await manager.insert(EntryEntity, { name });
            await manager.insert(EntryEntity, { name: `${name}-more` });
          });
      theirs.push(work);
      expect(await isWaiting(work)).toBe(true);
    }
    gate.open();
    await Promise.all([mine, ...theirs]);
    expect(await ledger.committed()).toEqual(['a', 'a-more', 'b', 'c', 'c-more', 'd', 'mine']);
  });

  it('is not taken away from an open transaction of the application', async () => {
    const rolledBack = ledger.dataSource.transaction(async (manager) => {
      await manager.insert(EntryEntity, { name: 'theirs' });
      await gate.pass();
      throw new Error('no');
    });
    await gate.reached;
    const mine = ledger.service.execute({ key }, async () => void (await add('mine')));
    expect(await isWaiting(mine)).toBe(true);
    gate.open();
    await expect(rolledBack).rejects.toThrow('no');
    await mine;
    expect(await ledger.committed()).toEqual(['mine']);
  });

  it('passes from one operation to the next, whatever becomes of each', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        ledger.service.execute({ key: `${key}-${index}` }, async () => {
          await add(`n-${index}`);
          await new Promise((resolve) => setImmediate(resolve));
          if (index % 3 === 0) throw new Error('no');
        }),
      ),
    );
    const kept = outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(kept).toBe(13);
    expect(await ledger.committed()).toHaveLength(kept);
  });

  it('is free again after an operation that ended its transaction itself', async () => {
    for (const [index, sql] of ['COMMIT', 'ROLLBACK'].entries()) {
      await ledger.service
        .execute({ key: `${key}-${index}` }, async () => {
          await ledger.dataSource.query(sql);
        })
        .catch(() => undefined);
      await add(sql);
    }
    expect(await ledger.committed()).toEqual(['COMMIT', 'ROLLBACK']);
  });

  it('is kept from those outside by every store that is on it', async () => {
    const second = new TypeOrmStore(ledger.dataSource, { table: 'second' });
    await second.init();
    const begun = await second.transactions.begin(request(), () => undefined);
    if (begun.type !== 'claimed') throw new Error('expected to win the claim');
    await begun.transaction.run(() => add('mine'));
    const theirs = add('theirs');
    const another = ledger.service.execute({ key }, () => add('another').then(() => undefined));
    expect(await isWaiting(theirs)).toBe(true);
    expect(await isWaiting(another)).toBe(true);
    await begun.transaction.rollback();
    await Promise.all([theirs, another]);
    expect(await ledger.committed()).toEqual(['another', 'theirs']);
  });

  it('is not waited for by who has it, on a query runner that was made outside', async () => {
    const outside = ledger.dataSource.createQueryRunner();
    await ledger.service.execute({ key }, async () => {
      await add('mine');
      await expect(outside.startTransaction()).rejects.toThrow(
        /query runner that was made outside .* Make the query runner inside/,
      );
      await outside.query(`INSERT INTO entry (name) VALUES ('joined')`);
    });
    await outside.startTransaction();
    await outside.query(`INSERT INTO entry (name) VALUES ('later')`);
    await outside.commitTransaction();
    expect(await ledger.committed()).toEqual(['joined', 'later', 'mine']);
  });
});
