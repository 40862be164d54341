import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import {
  EventSubscriber,
  type EntitySubscriberInterface,
  type TransactionCommitEvent,
} from 'typeorm';
import { ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

type Moment =
  | 'beforeTransactionStart'
  | 'afterTransactionStart'
  | 'beforeTransactionCommit'
  | 'afterTransactionRollback';

let failing: Moment | undefined;
let swallows = false;

@EventSubscriber()
class Subscriber implements EntitySubscriberInterface {
  async beforeTransactionStart(): Promise<void> {
    this.fail('beforeTransactionStart');
  }
  async afterTransactionStart(): Promise<void> {
    this.fail('afterTransactionStart');
  }
  async beforeTransactionCommit({ queryRunner }: TransactionCommitEvent): Promise<void> {
    this.fail('beforeTransactionCommit');
    if (swallows) {
      await queryRunner.query('SELECT nothing FROM nowhere').catch(() => undefined);
    }
  }
  async afterTransactionRollback(): Promise<void> {
    this.fail('afterTransactionRollback');
  }
  private fail(moment: Moment): void {
    if (failing === moment) throw new Error(`no at ${moment}`);
  }
}

const options = (path: string) => ({
  extra: {
    subscribers: [Subscriber],
    // whoever waits for a connection that is not given back is told so
    ...(path === 'postgres' && { connectTimeoutMS: 2_000 }),
  },
});

describe.each(ledgerPaths())('subscribers on %s, with a pool of one', (path) => {
  let ledger: Ledger;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    ledger = await openLedger(path, options(path));
  });
  afterAll(() => ledger.close());
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
  });
  afterEach(() => {
    failing = undefined;
    swallows = false;
  });

  const add = async (name: string): Promise<void> => {
    await ledger.entries.insert({ name });
  };

  it.each<[Moment, 'transactional' | 'lease']>([
    ['beforeTransactionStart', 'transactional'],
    ['afterTransactionStart', 'transactional'],
    ['beforeTransactionCommit', 'transactional'],
    ['beforeTransactionStart', 'lease'],
    ['afterTransactionStart', 'lease'],
    ['beforeTransactionCommit', 'lease'],
  ])('leave nothing open when they fail at %s (mode: %s)', async (moment, mode) => {
    const work = () =>
      ledger.service.execute({ key, mode }, (once) =>
        mode === 'lease' ? once.transaction('book', () => add('a')) : add('a'),
      );
    failing = moment;
    await expect(work()).rejects.toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
    failing = undefined;
    expect(await ledger.entries.count()).toBe(0);
    await work();
    expect(await ledger.committed()).toEqual(['a']);
  });

  it('leave nothing open when they fail after a rollback', async () => {
    failing = 'afterTransactionRollback';
    const work = ledger.service.execute({ key }, () => Promise.reject(new Error('no')));
    await expect(work).rejects.toThrow('no');
    failing = undefined;
    expect(await ledger.entries.count()).toBe(0);
  });

  if (path === 'postgres') {
    const sizes: [string, number][] = [
      ['small', 10],
      ['large', 70_000],
    ];
    it.each(sizes)('cannot hide that nothing was committed (%s result)', async (_, size) => {
      swallows = true;
      const work = ledger.service.execute({ key }, async () => {
        await add('a');
        return 'x'.repeat(size);
      });
      await expect(work).rejects.toMatchObject({ code: 'IDEMPOTENCY_TRANSACTION_BROKEN' });
      swallows = false;
      expect(await ledger.committed()).toEqual([]);
      await ledger.service.execute({ key }, () => add('b'));
      expect(await ledger.committed()).toEqual(['b']);
    });

    it('cannot hide that a step was not committed', async () => {
      swallows = true;
      const work = () =>
        ledger.service.execute({ key, mode: 'lease' }, (once) =>
          once.transaction('book', () => add('a')),
        );
      await expect(work()).rejects.toMatchObject({ code: 'IDEMPOTENCY_TRANSACTION_BROKEN' });
      swallows = false;
      expect(await ledger.committed()).toEqual([]);
      await work();
      expect(await ledger.committed()).toEqual(['a']);
    });
  }
});
