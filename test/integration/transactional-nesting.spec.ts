import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { TestGate } from '../support/gate.js';
import { ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(ledgerPaths())('operations in operations on %s', (path) => {
  let ledger: Ledger;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    ledger = await openLedger(path);
  });
  afterAll(() => ledger.close());
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
  });

  type Options = Partial<Parameters<Ledger['service']['execute']>[0]>;
  const run = <T>(name: string, work: () => Promise<T>, options: Options = {}): Promise<T> =>
    ledger.service.execute({ key: `${key}-${name}`, ...options }, work);
  const add = async (name: string): Promise<void> => {
    await ledger.entries.insert({ name });
  };
  const no = () => Promise.reject(new Error('no'));
  const inProgress = { code: 'IDEMPOTENCY_IN_PROGRESS' };

  it('join when they have the same key', async () => {
    await run('a', async () => {
      await add('outer');
      await run('a', () => add('inner'));
    });
    expect(await ledger.committed()).toEqual(['inner', 'outer']);
  });

  it.each(['transactional', 'lease'] as const)(
    'commit and roll back with the outer one (inner mode: %s)',
    async (mode) => {
      const inner = () => run('inner', () => add('inner'), { mode });
      await expect(
        run('outer', async () => {
          await inner();
          return no();
        }),
      ).rejects.toThrow('no');
      expect(await ledger.committed()).toEqual([]);
      await run('outer', async () => {
        await inner();
        await inner(); // replayed
      });
      await inner();
      expect(await ledger.committed()).toEqual(['inner']);
    },
  );

  it('are undone alone when they fail, and may be tried again', async () => {
    await run('outer', async () => {
      await add('outer');
      const failing = run('inner', async () => {
        await add('inner');
        await add('inner'); // refused by the database
      });
      await expect(failing).rejects.toThrow(/unique|duplicate/i);
      await run('inner', () => add('second'));
    });
    expect(await ledger.committed()).toEqual(['outer', 'second']);
  });

  it('keep a failure that is to be kept, with the outer one', async () => {
    const failing = () =>
      run(
        'inner',
        async () => {
          await add('inner');
          return no();
        },
        { errors: () => 'store' },
      );
    await run('outer', async () => {
      await add('outer');
      await expect(failing()).rejects.toThrow('no');
    });
    expect(await ledger.committed()).toEqual(['outer']);
    await expect(run('inner', () => add('never'))).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual(['outer']);
  });

  it('run one after the other when they are started in parallel', async () => {
    await run('outer', async () => {
      const results = await Promise.allSettled([
        run('a', () => add('a')),
        run('b', async () => {
          await add('b');
          return no();
        }),
        run('c', () => add('c')),
        run('c', () => add('never')),
        add('d'),
      ]);
      expect(results.map(({ status }) => status[0]).join('')).toBe('frfrf');
      expect(results[3]).toMatchObject({ reason: inProgress });
    });
    expect(await ledger.committed()).toEqual(['a', 'c', 'd']);
  });

  it('are told of a duplicate in flight, and go on without it', async () => {
    if (path.startsWith('sqlite')) return expectOneAtATime();
    const other = await ledger.another();
    const gate = new TestGate();
    const theirs = other.service.execute({ key: `${key}-inner` }, async () => {
      await gate.pass();
      return 'theirs';
    });
    await gate.reached;
    await run('outer', async () => {
      await expect(run('inner', () => add('never'))).rejects.toMatchObject(inProgress);
      await add('outer');
    });
    gate.open();
    await theirs;
    expect(await ledger.committed()).toEqual(['outer']);
    expect(await run('inner', async () => 'mine')).toBe('theirs');
  });

  /** There is one writer: who is inside is alone. */
  async function expectOneAtATime(): Promise<void> {
    const order: string[] = [];
    const step = (name: string) =>
      run(name, async () => {
        order.push(`${name} begins`);
        await run(`inner-of-${name}`, () => add(name));
        order.push(`${name} ends`);
      });
    await Promise.all([step('a'), step('b')]);
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  }

  it('have a transaction of their own inside of a lease', async () => {
    const failing = run(
      'outer',
      async () => {
        await run('inner', () => add('inner'), { mode: 'transactional' });
        await add('outer');
        const second = run('second', async () => {
          await add('second');
          return no();
        });
        await expect(second).rejects.toThrow('no');
        return no();
      },
      { mode: 'lease' },
    );
    await expect(failing).rejects.toThrow('no');
    expect(await ledger.committed()).toEqual(['inner', 'outer']);
    expect(await run('inner', () => add('never'))).toBeUndefined();
  });

  it('run to their end once, though their results are not kept', async () => {
    const unavailable = { code: 'IDEMPOTENCY_RESULT_UNAVAILABLE' };
    const big = () =>
      run(
        'big',
        async () => {
          await add('big');
          return 'x'.repeat(2_000);
        },
        { maxResultBytes: 1_000 },
      );
    const odd = () =>
      run('odd', async () => {
        await add('odd');
        return () => 'a function';
      });
    expect(await big()).toHaveLength(2_000);
    expect((await odd())()).toBe('a function');
    await expect(big()).rejects.toMatchObject(unavailable);
    await expect(odd()).rejects.toMatchObject(unavailable);
    expect(await ledger.committed()).toEqual(['big', 'odd']);
  });

  it('do nothing for a key that is older than outcomes are kept', async () => {
    const options = { key: '01800000-0000-7000-8000-000000000000' };
    await expect(ledger.service.execute(options, () => add('never'))).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_EXPIRED',
    });
    await run('outer', async () => {
      const inner = ledger.service.execute(options, () => add('never'));
      await expect(inner).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_EXPIRED' });
      await add('outer');
    });
    expect(await ledger.committed()).toEqual(['outer']);
    expect(await ledger.service.find(options)).toBeNull();
  });
});
