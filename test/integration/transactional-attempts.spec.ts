import 'reflect-metadata';
import { once } from 'node:events';
import { Logger } from '@nestjs/common';
import type { ExecuteOptions } from 'nestjs-idempotency';
import { ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';
import { StatementLog } from '../support/typeorm-statement-log.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(ledgerPaths())('attempts of a transaction on %s', (path) => {
  const log = new StatementLog();
  let ledger: Ledger;
  let key = '';
  let keys = 0;
  let runs = 0;

  beforeAll(async () => {
    ledger = await openLedger(path, { extra: { logger: log } });
  });
  afterAll(() => ledger.close());
  beforeEach(async () => {
    runs = 0;
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
  });

  const attempt = (work: () => Promise<unknown>, options: Partial<ExecuteOptions> = {}) =>
    ledger.service
      .execute({ key, attempts: { max: 2 }, ...options }, async (context) => {
        runs += 1;
        await ledger.entries.insert({ name: `${key}-${runs}` });
        if (options.maxDuration !== undefined) await once(context.signal, 'abort');
        return work();
      })
      .catch((error: { code?: string; message: string }) => error.code ?? error.message);
  const succeed = async () => 'done';
  const swallow = async () =>
    ledger.entries.insert({ name: `${key}-${runs}` }).catch(() => undefined);
  const BROKEN = 'IDEMPOTENCY_TRANSACTION_BROKEN';

  const poison: [string, () => Promise<unknown>, Partial<ExecuteOptions>, string, string][] = [
    [
      'ended their transaction where that is refused',
      () => ledger.dataSource.query('ROLLBACK'),
      { strict: true },
      BROKEN,
      'IdempotencyError',
    ],
    [
      'outlived maxDuration',
      succeed,
      { lease: '1s', maxDuration: '1s' },
      BROKEN,
      'IdempotencyError',
    ],
    [
      'failed with an error that is judged uncertain',
      () => Promise.reject(new RangeError('in doubt')),
      { errors: () => 'uncertain' },
      'in doubt',
      'RangeError',
    ],
    ['failed', () => Promise.reject(new RangeError('no')), {}, 'no', 'RangeError'],
  ];
  if (path === 'postgres') {
    poison.push(['swallowed an error', swallow, {}, BROKEN, 'IdempotencyError']);
  }

  it.each(poison)('are counted when they %s', async (_, work, options, code, name) => {
    expect(await attempt(work, options)).toBe(code);
    expect(await ledger.service.find({ key })).toBeNull();
    expect(await attempt(work, options)).toBe(code);
    expect(await attempt(succeed)).toBe('IDEMPOTENCY_PARKED');
    expect(runs).toBe(2);
    expect(await ledger.service.find({ key })).toMatchObject({
      state: 'parked',
      lastError: { name },
    });
    expect(await ledger.committed()).toEqual([]);
    await ledger.service.redrive({ key });
    expect(await attempt(succeed)).toBe('done');
    expect(await ledger.service.find({ key })).toMatchObject({
      state: 'completed',
      attemptsStarted: 1,
    });
  });

  it('may succeed at the last, and are counted once each', async () => {
    expect(await attempt(() => Promise.reject(new Error('first')))).toBe('first');
    expect(await attempt(succeed)).toBe('done');
    expect(await attempt(succeed)).toBe('done');
    expect(runs).toBe(2);
    expect(await ledger.committed()).toEqual([`${key}-2`]);
    expect(await ledger.service.find({ key })).toMatchObject({ attemptsStarted: 2 });
  });

  it('are found in progress while they run, and their failure is kept where it is told', async () => {
    const failing = async () => {
      const other = await ledger.another();
      expect(await other.service.find({ key })).toMatchObject({ state: 'in-progress' });
      throw new Error('kept');
    };
    if (path === 'sqlite') return; // has no second connection
    expect(await attempt(failing, { errors: 'store-all' })).toBe('kept');
    expect(await attempt(succeed)).toBe('kept');
    expect(runs).toBe(1);
  });

  it('keep the steps of those that were broken', async () => {
    let charges = 0;
    const run = (work: () => Promise<unknown>) =>
      ledger.service
        .execute({ key, strict: true, attempts: { max: 3 } }, async (context) => {
          await context.step('charge', () => (charges += 1));
          return work();
        })
        .catch((error: { code: string }) => error.code);
    expect(await run(() => ledger.dataSource.query('ROLLBACK'))).toBe(BROKEN);
    expect(await run(succeed)).toBe('done');
    expect(charges).toBe(1);
  });

  it('cost nothing where nobody asks to count them', async () => {
    const count = async (options: object): Promise<number> => {
      key += '+';
      return (await log.during(() => attempt(succeed, options))).length;
    };
    const plain = await count({ attempts: undefined });
    const counted = await count({});
    const more = path === 'postgres' ? 1 : path.startsWith('sqlite') ? 0 : 5;
    expect(counted - plain).toBe(more);
  });
});
