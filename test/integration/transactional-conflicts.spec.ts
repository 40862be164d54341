import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { EntitySchema, type DataSource } from 'typeorm';
import { EntryEntity, ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

interface Account {
  id: number;
  balance: number;
}

const AccountEntity = new EntitySchema<Account>({
  name: 'account',
  columns: { id: { type: Number, primary: true }, balance: { type: Number } },
});

/** Lets `count` callers through once all of them have come; who comes later passes. */
function meeting(count: number): () => Promise<void> {
  let open!: () => void;
  const met = new Promise<void>((resolve) => (open = resolve));
  return () => {
    if ((count -= 1) <= 0) open();
    return met;
  };
}

const servers = ledgerPaths().filter((dialect) => !dialect.startsWith('sqlite'));
const levels = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const;

describe.each(servers.flatMap((dialect) => levels.map((level) => [dialect, level] as const)))(
  'transactions that meet on %s at %s',
  (dialect, isolationLevel) => {
    let ledger: Ledger;
    let key = '';
    let keys = 0;

    beforeAll(async () => {
      ledger = await openLedger(dialect, {
        poolSize: 8,
        extra: {
          isolationLevel,
          entities: [EntryEntity, AccountEntity],
          // PostgreSQL waits for a second by default before it looks for one
          ...(dialect === 'postgres' && {
            extra: { max: 8, options: '-c deadlock_timeout=20ms' },
          }),
        },
      });
    });
    afterAll(() => ledger.close());
    beforeEach(async () => {
      key = `key-${(keys += 1)}`;
      await ledger.entries.clear();
      await accounts(ledger.dataSource).save([
        { id: 1, balance: 0 },
        { id: 2, balance: 0 },
      ]);
    });

    const accounts = (dataSource: DataSource) => dataSource.getRepository(AccountEntity);
    const pay = (id: number) => accounts(ledger.dataSource).increment({ id }, 'balance', 1);
    const balances = async () =>
      (await accounts(ledger.dataSource).find({ order: { id: 'ASC' } })).map(
        ({ balance }) => balance,
      );
    const run = <T>(name: string, work: () => Promise<T>): Promise<T> =>
      ledger.service.execute({ key: `${key}-${name}` }, work);

    it('runs a handler again that a deadlock has undone', async () => {
      const both = meeting(2);
      let runs = 0;
      const transfer = (name: string, from: number, to: number) =>
        run(name, async () => {
          runs += 1;
          await pay(from);
          await both();
          await pay(to);
        });
      await Promise.all([transfer('a', 1, 2), transfer('b', 2, 1)]);
      expect(await balances()).toEqual([2, 2]);
      // at the higher levels the one that runs again may meet the other once more
      expect(runs).toBeGreaterThanOrEqual(3);
    });

    it('gives up a handler that is in the way of others each time, and a retry runs', async () => {
      let runs = 0;
      // somebody who locks the other way round, whenever the handler has begun
      const failing = run('a', async () => {
        runs += 1;
        await pay(1);
        const rival = ledger.dataSource.driver.createQueryRunner('master');
        try {
          await rival.query('START TRANSACTION');
          await rival.query('UPDATE account SET balance = balance + 0 WHERE id = 2');
          const theirs = rival.query('UPDATE account SET balance = balance + 0 WHERE id = 1');
          const rivalLost = theirs.then(
            () => false,
            () => rival.query('ROLLBACK').then(() => true),
          );
          await pay(2);
          // the server may choose the other one
          if (await rivalLost) throw Object.assign(new Error('deadlock'), deadlock(dialect));
        } finally {
          await rival.query('ROLLBACK').catch(() => undefined);
          await rival.release();
        }
      });
      await expect(failing).rejects.toMatchObject({ code: 'IDEMPOTENCY_TRANSACTION_CONFLICT' });
      expect(runs).toBe(4);
      expect(await balances()).toEqual([0, 0]);
      await run('a', () => pay(1).then(() => undefined));
      expect(await balances()).toEqual([1, 0]);
    });

    it('commits nothing behind a deadlock that the handler has swallowed', async () => {
      const both = meeting(2);
      const outcomes = await Promise.allSettled(
        (
          [
            ['a', 1, 2],
            ['b', 2, 1],
          ] as const
        ).map(([name, from, to]) =>
          run(name, async () => {
            await pay(from);
            await both();
            await pay(to).catch(() => undefined);
            await ledger.entries.insert({ name }).catch(() => undefined);
          }),
        ),
      );
      const kept = outcomes.filter(({ status }) => status === 'fulfilled').length;
      expect((await ledger.committed()).length).toBe(kept);
      expect(await balances()).toEqual([kept, kept]);
      expect(kept).toBeGreaterThan(0);
    });

    it('answers claims that race without a failure of its own', async () => {
      const other = await ledger.another();
      const servers = [ledger, other];
      for (let round = 0; round < 5; round += 1) {
        const asked = { key: `${key}-${round}`, onConcurrent: 'wait' as const };
        const answers = await Promise.all(
          Array.from({ length: 6 }, (_, index) => {
            const { service, dataSource } = servers[index % 2]!;
            return service.execute(asked, async () => {
              await dataSource.getRepository(EntryEntity).insert({ name: asked.key });
              return index;
            });
          }),
        );
        expect(new Set(answers).size).toBe(1);
      }
      expect(await ledger.committed()).toHaveLength(5);
    });
  },
);

function deadlock(dialect: string): object {
  return dialect === 'postgres' ? { code: '40P01' } : { errno: 1213 };
}
