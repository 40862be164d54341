import 'reflect-metadata';
import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@nestjs/common';
import type { IdempotencyHooks } from 'nestjs-idempotency';
import type { QueryRunner } from 'typeorm';
import { clearFailpoints, setFailpoint } from '../../src/engine/failpoints.js';
import { TestGate } from '../support/gate.js';
import { EntryEntity, ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';

const told: string[] = [];
const hooks: IdempotencyHooks = {
  onEscaped: ({ handler, escape }) => void told.push(`${handler} ${escape}`),
  onUncertain: ({ handler }) => void told.push(`${handler} uncertain`),
  onReleased: ({ handler }) => void told.push(`${handler} released`),
};
const warnings: string[] = [];
const originalWarn = Logger.prototype.warn;

beforeAll(() => {
  Logger.overrideLogger(false);
  Logger.prototype.warn = (message: unknown) => void warnings.push(String(message));
});
afterAll(() => {
  Logger.prototype.warn = originalWarn;
});

describe.each(ledgerPaths())('work that leaves its transaction on %s', (dialect) => {
  const isSqlite = dialect.startsWith('sqlite');
  const isMySql = dialect === 'mariadb' || dialect === 'mysql-statements';
  let ledger: Ledger;
  let early: QueryRunner;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    ledger = await openLedger(dialect, { hooks, poolSize: 2 });
    early = ledger.dataSource.createQueryRunner();
  });
  afterAll(async () => {
    await early.release();
    await ledger.close();
  });
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
    told.length = 0;
  });

  const run = <T>(work: () => Promise<T>, strict = false): Promise<T> =>
    ledger.service.execute({ key, operation: 'import', strict }, work);
  const add = async (name: string): Promise<void> => {
    await ledger.entries.insert({ name });
  };
  const raw = async (sql: string): Promise<void> => {
    await ledger.dataSource.query(sql);
  };
  const broken = { code: 'IDEMPOTENCY_TRANSACTION_BROKEN' };
  const find = () => ledger.service.find({ key, operation: 'import' });
  const poolIsWhole = async () => {
    await Promise.all([ledger.entries.count(), ledger.entries.count(), ledger.entries.count()]);
    await ledger.service.execute({ key: `${key}-after` }, () => add('after'));
    expect(await ledger.committed()).toContain('after');
  };

  it('commits a query that was not awaited, and tells so', async () => {
    await run(async () => void add('a'));
    expect(await ledger.committed()).toEqual(['a']);
    expect(told).toEqual(['import unfinished']);
  });

  it('refuses a query that was not awaited where that is strict', async () => {
    await expect(run(async () => void add('a').catch(() => undefined), true)).rejects.toMatchObject(
      broken,
    );
    expect(await ledger.committed()).toEqual([]);
    expect(told).toEqual(['import unfinished']);
    expect(await find()).toBeNull();
    await poolIsWhole();
  });

  it('warns once of what every request does', async () => {
    warnings.length = 0;
    for (const name of ['a', 'b']) {
      const options = { key: `${key}-${name}`, operation: 'nightly' };
      await ledger.service.execute(options, async () => void add(name));
    }
    expect(told).toEqual(['nightly unfinished', 'nightly unfinished']);
    expect(warnings).toEqual([expect.stringMatching(/^nightly ended while queries of it were/)]);
  });

  it('runs a query that comes after the commit by itself, and tells so', async () => {
    const gate = new TestGate();
    let late: Promise<void> | undefined;
    await run(async () => {
      late = gate.pass().then(() => add('late'));
    });
    expect(told).toEqual([]);
    gate.open();
    await late;
    expect(told).toEqual(['import late']);
    expect(await ledger.committed()).toEqual(['late']);
  });

  it.each([
    ['query', (): Promise<unknown> => add('late')],
    [
      'inner operation',
      () => ledger.service.execute({ key: `${key}-inner` }, () => add('late').then(() => 'late')),
    ],
  ])('refuses a late %s while it is not certain that there will be a commit', async (_, work) => {
    const gate = new TestGate();
    let late: Promise<unknown> | undefined;
    setFailpoint('commit:before', async () => {
      gate.open();
      await expect(late).rejects.toMatchObject(broken);
      throw new Error('no commit');
    });
    try {
      const failing = run(async () => {
        await add('a');
        late = gate.pass().then(work);
        late.catch(() => undefined);
      });
      await expect(failing).rejects.toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
    } finally {
      clearFailpoints();
    }
    await expect(late).rejects.toMatchObject(broken);
    expect(await ledger.committed()).toEqual([]);
  });

  it('refuses a query that comes after the commit where that is strict', async () => {
    const gate = new TestGate();
    let late: Promise<void> | undefined;
    await run(async () => {
      late = gate.pass().then(() => add('late'));
      late.catch(() => undefined);
    }, true);
    gate.open();
    await expect(late).rejects.toMatchObject(broken);
    expect(await ledger.committed()).toEqual([]);
  });

  it.each(['repository', 'manager of a transaction', 'query runner', 'inner operation'])(
    'never runs a query of a %s after the rollback',
    async (kind) => {
      const gate = new TestGate();
      let late: Promise<unknown> | undefined;
      const failing = run(async () => {
        const runner = ledger.dataSource.createQueryRunner();
        const ways: Record<string, () => Promise<unknown>> = {
          repository: () => add('late'),
          'manager of a transaction': () =>
            ledger.dataSource.transaction((manager) =>
              manager.insert(EntryEntity, { name: 'late' }),
            ),
          'query runner': () => runner.manager.insert(EntryEntity, { name: 'late' }),
          'inner operation': () =>
            ledger.service.execute({ key: `${key}-inner` }, () => add('late')),
        };
        late = gate.pass().then(() => ways[kind]!());
        late.catch(() => undefined);
        throw new Error('no');
      });
      await expect(failing).rejects.toThrow('no');
      gate.open();
      await expect(late).rejects.toMatchObject(broken);
      expect(await ledger.committed()).toEqual([]);
    },
  );

  it('leaves alone what a handler starts outside of its own context', async () => {
    const gate = new TestGate();
    const outside = AsyncLocalStorage.snapshot();
    let refreshed: Promise<number> | undefined;
    const failing = run(async () => {
      refreshed = outside(() => gate.pass().then(() => ledger.entries.count()));
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    gate.open();
    expect(await refreshed).toBe(0);
    expect(told).toEqual(['import released']);
  });

  if (!isSqlite) {
    it('tells of a query runner that was made outside', async () => {
      await run(async () => void (await early.query(`INSERT INTO entry (name) VALUES ('out')`)));
      expect(await ledger.committed()).toEqual(['out']);
      expect(told).toEqual(['import outside']);
    });

    it('does not let a query runner that was made outside take effect where that is strict', async () => {
      const failing = run(async () => {
        await add('a');
        await early.query(`INSERT INTO entry (name) VALUES ('out')`);
      }, true);
      await expect(failing).rejects.toMatchObject(broken);
      expect(await ledger.committed()).toEqual([]);
      expect(told).toEqual(['import outside', 'import released']);
    });
  }

  it('fails where the handler swallowed what strict mode told it', async () => {
    const failing = run(async () => {
      await add('a');
      await (isSqlite ? raw('COMMIT') : early.query('SELECT 1')).catch(() => undefined);
      await add('b').catch(() => undefined);
    }, true);
    await expect(failing).rejects.toMatchObject(broken);
    // what the handler has committed itself cannot be undone any more, and is not done again
    expect(await ledger.committed()).toEqual(isSqlite ? ['a'] : []);
    expect((await find())?.state).toBe(isSqlite ? 'uncertain' : undefined);
    await poolIsWhole();
  });

  const commits = [
    'COMMIT',
    ...(isSqlite ? [] : ['COMMIT AND CHAIN']),
    ...(isMySql ? ['START TRANSACTION', 'CREATE TABLE IF NOT EXISTS other (id INT)'] : []),
  ];

  describe.each(commits)('by %s', (statement) => {
    // behind the others there is a transaction as before, only another one
    const isSeenAtOnce = !/CHAIN|START/.test(statement);
    const commit = () => raw(statement);

    it('takes effect once, and is recorded and replayed', async () => {
      let runs = 0;
      const work = async () => {
        await add('a');
        await commit();
        await add('b');
        return (runs += 1);
      };
      expect(await run(work)).toBe(1);
      expect(await ledger.committed()).toEqual(['a', 'b']);
      expect((await find())?.state).toBe('completed');
      expect(await run(work)).toBe(1);
      expect(told).toEqual(['import ended']);
      await poolIsWhole();
    });

    it('is uncertain when the handler fails afterwards, and never runs again', async () => {
      const work = async () => {
        await add('a');
        await commit();
        throw new Error('too late');
      };
      await expect(run(work)).rejects.toThrow('too late');
      const uncertain = { code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' };
      await expect(run(work)).rejects.toMatchObject(uncertain);
      expect(await ledger.committed()).toEqual(['a']);
      const listed = await ledger.service.list({ state: 'uncertain' });
      expect(listed.map((record) => record.key)).toContain(key);
      if (isSeenAtOnce) {
        expect(told).toEqual(['import ended', 'import uncertain']);
      }
      await poolIsWhole();
    });

    it('fails where that is strict, and never runs again', async () => {
      const failing = run(async () => {
        await add('a');
        await commit();
        await add('b');
      }, true);
      await expect(failing).rejects.toMatchObject(broken);
      expect(await ledger.committed()).not.toContain('b');
      const uncertain = { code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' };
      await expect(run(() => add('c'), true)).rejects.toMatchObject(uncertain);
      await poolIsWhole();
    });
  });

  it.each([[false], [true]])('leaves nothing after a ROLLBACK (strict: %s)', async (strict) => {
    const failing = run(async () => {
      await add('a');
      await raw('ROLLBACK');
      await add('b').catch(() => undefined);
    }, strict);
    await expect(failing).rejects.toMatchObject(broken);
    expect(await ledger.committed()).toEqual([]);
    expect(told[0]).toBe('import ended');
    expect(await find()).toBeNull();
    await run(() => add('c'));
    expect(await ledger.committed()).toEqual(['c']);
    await poolIsWhole();
  });

  // it takes as long as the library is patient
  if (dialect === 'sqlite' || dialect === 'postgres') {
    it('leaves nothing when a query runner is left inside of its transaction', async () => {
      const failing = run(async () => {
        const runner = ledger.dataSource.createQueryRunner();
        await runner.startTransaction();
        await runner.manager.insert(EntryEntity, { name: 'a' });
      });
      await expect(failing).rejects.toMatchObject(broken);
      expect(await ledger.committed()).toEqual([]);
      await poolIsWhole();
    });
  }
});
