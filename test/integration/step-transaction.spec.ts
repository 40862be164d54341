import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import type { IdempotencyContext, IdempotencyHooks } from 'nestjs-idempotency';
import { entityManagerOf } from 'nestjs-idempotency/typeorm';
import { QueryFailedError } from 'typeorm';
import { EntryEntity, ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

const dialects = ledgerPaths().filter((dialect) => dialect !== 'sqlite');

describe.each(dialects)('once.transaction() on %s, with a pool of one', (dialect) => {
  let ledger: Ledger;
  let escapes: string[] = [];
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    const hooks: IdempotencyHooks = { onEscaped: ({ escape }) => void escapes.push(escape) };
    ledger = await openLedger(dialect, { hooks });
  });
  afterAll(() => ledger.close());
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    escapes = [];
    await ledger.entries.clear();
  });

  type Mode = 'lease' | 'transactional';
  const run = <T>(work: (once: IdempotencyContext) => Promise<T>, mode: Mode = 'lease') =>
    ledger.service.execute({ key, mode }, work);
  const add = async (name: string): Promise<string> => {
    await ledger.entries.insert({ name });
    return name;
  };
  const fail = (): never => {
    throw new Error('no');
  };
  const takeKeyAway = () =>
    ledger.dataSource.query(`UPDATE idempotency_record SET owner = id WHERE state = 0`);

  it('commits its work and its result together, and is not run again', async () => {
    let runs = 0;
    const work = (end: () => string) => async (once: IdempotencyContext) => {
      const result = await once.transaction('book', async () => {
        runs += 1;
        await entityManagerOf(once).insert(EntryEntity, { name: 'explicit' });
        return add('joined');
      });
      expect(result).toBe('joined');
      return end();
    };
    await expect(run(work(fail))).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual(['explicit', 'joined']);
    expect(await run(work(() => 'done'))).toBe('done');
    expect(runs).toBe(1);
    expect(await ledger.committed()).toEqual(['explicit', 'joined']);
  });

  it('hands over the manager of the innermost operation, of whichever DataSource', async () => {
    const other = await ledger.another();
    await run(async (outer) => {
      const { dataSource } = entityManagerOf(outer);
      expect(dataSource).toBe(ledger.dataSource);
      if (dialect !== 'sqlite-file') {
        await other.service.execute({ key: `${key}-inner` }, async (inner) => {
          expect(entityManagerOf(inner).dataSource).toBe(other.dataSource);
        });
      }
      expect(entityManagerOf(outer).dataSource).toBe(ledger.dataSource);
    }, 'transactional');
  });

  it('leaves nothing when its work fails, and runs again', async () => {
    const work = (end: () => unknown) => (once: IdempotencyContext) =>
      once.transaction('book', async () => {
        await add('a');
        end();
      });
    await expect(run(work(fail))).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual([]);
    await run(work(() => undefined));
    expect(await ledger.committed()).toEqual(['a']);
  });

  it('undoes the work of an attempt that lost its claim meanwhile', async () => {
    const zombie = run(async (once) => {
      await once.transaction('book', async () => {
        await add('a');
        // in its own transaction, as if it had happened before: the row that the step compares with
        await takeKeyAway();
      });
    });
    await expect(zombie).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    expect(await ledger.committed()).toEqual([]);
  });

  it('runs its work again when others are in the way', async () => {
    let runs = 0;
    await run((once) =>
      once.transaction('book', async () => {
        await add('a');
        if ((runs += 1) === 1) {
          throw new QueryFailedError('', [], conflict());
        }
      }),
    );
    expect(runs).toBe(2);
    expect(await ledger.committed()).toEqual(['a']);
  });

  it('tells of work that commits by itself, and keeps the step all the same', async () => {
    let runs = 0;
    const work = (end: () => string) => async (once: IdempotencyContext) => {
      await once.transaction('book', async () => {
        runs += 1;
        await add('a');
        await ledger.dataSource.query('COMMIT');
      });
      return end();
    };
    await expect(run(work(fail))).rejects.toThrow('no');
    expect(escapes).toEqual(['ended']);
    expect(await run(work(() => 'done'))).toBe('done');
    expect(runs).toBe(1);
    expect(await ledger.committed()).toEqual(['a']);
  });

  it('is a part of a transactional operation', async () => {
    let outside = 0;
    const work = (end: () => unknown) => async (once: IdempotencyContext) => {
      await once.step('elsewhere', () => (outside += 1));
      await once.transaction('book', () => add('a'));
      await expect(
        once.transaction('undone', async () => {
          await add('b');
          fail();
        }),
      ).rejects.toThrow('no');
      end();
    };
    await expect(run(work(fail), 'transactional')).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual([]);
    await run(
      work(() => undefined),
      'transactional',
    );
    expect(await ledger.committed()).toEqual(['a']);
    // what was done elsewhere had happened, although the attempt had not
    expect(outside).toBe(1);
  });

  it('repeats a step of a transactional operation whose work in the database was undone', async () => {
    let runs = 0;
    const work = (end: () => unknown) => async (once: IdempotencyContext) => {
      await once.step('book', () => {
        runs += 1;
        return add('a');
      });
      end();
    };
    await expect(run(work(fail), 'transactional')).rejects.toThrow('no');
    await run(
      work(() => undefined),
      'transactional',
    );
    expect(runs).toBe(2);
    expect(await ledger.committed()).toEqual(['a']);
  });

  it('refuses to mark a point of no return where everything is undone', async () => {
    const marking = run((once) => once.effectStarted(), 'transactional');
    await expect(marking).rejects.toThrow('runs in a transaction, and is undone with it');
  });

  it('refuses to mark one in a transaction of its own, which may be undone yet', async () => {
    const work = (once: IdempotencyContext) =>
      once.transaction('book', async () => {
        await add('a');
        await once.effectStarted();
      });
    await expect(run(work)).rejects.toThrow(
      'once.effectStarted() was asked for inside of a transaction',
    );
    expect(await ledger.committed()).toEqual([]);
  });

  it('refuses a step in the transaction of another operation, which may be undone yet', async () => {
    let runs = 0;
    const work = (once: IdempotencyContext) =>
      ledger.service.execute({ key: `${key}-inner` }, async () => {
        await add('a');
        await once.step('charge', () => (runs += 1));
      });
    await expect(run(work)).rejects.toThrow(
      "The step 'charge' was asked for inside of a transaction",
    );
    expect(runs).toBe(0);
    expect(await ledger.committed()).toEqual([]);
  });

  function conflict(): Error {
    const code = dialect === 'postgres' ? { code: '40001' } : { errno: 1213 };
    const sqlite = { code: 'SQLITE_BUSY' };
    return Object.assign(new Error('others'), dialect === 'sqlite-file' ? sqlite : code);
  }
});
