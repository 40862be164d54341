import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { TestGate } from '../support/gate.js';
import { eventually } from '../support/http.js';
import { ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';
import { StatementLog } from '../support/typeorm-statement-log.js';

beforeAll(() => Logger.overrideLogger(false));

const servers = ledgerPaths().filter((path) => !path.startsWith('sqlite'));

describe.each(servers)('a pool of five on %s', (path) => {
  let ledger: Ledger;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    ledger = await openLedger(path, { poolSize: 5 });
  });
  afterAll(() => ledger.close());
  beforeEach(async () => {
    key = `key-${(keys += 1)}`;
    await ledger.entries.clear();
  });

  const place = (name: string, during?: () => Promise<unknown>) =>
    ledger.service.execute({ key: name }, async () => {
      await ledger.entries.insert({ name });
      await during?.();
      await ledger.dataSource.transaction((manager) => manager.query('SELECT 1'));
      return ledger.entries.countBy({ name });
    });

  it('serves twenty requests at once, each with one connection', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `${key}-${index}`);
    expect(await Promise.all(names.map((name) => place(name)))).toEqual(names.map(() => 1));
    expect(await ledger.committed()).toHaveLength(20);
  });

  it('is left alone by two hundred duplicates of one slow request', async () => {
    const gate = new TestGate();
    const slow = place(key, () => gate.pass());
    await gate.reached;
    const duplicates = Array.from({ length: 200 }, (_, index) =>
      ledger.service.execute(
        index % 2 === 0 ? { key } : { key, onConcurrent: 'wait', waitTimeout: '20s' },
        async () => 'never',
      ),
    );
    const rejected = duplicates.filter((_, index) => index % 2 === 0);
    for (const outcome of await Promise.allSettled(rejected)) {
      expect(outcome).toMatchObject({ reason: { code: 'IDEMPOTENCY_IN_PROGRESS' } });
    }
    // those who wait hold nothing: four others run at the same time as the slow one
    const others = [1, 2, 3, 4].map((index) => ({ gate: new TestGate(), name: `${key}-${index}` }));
    const running = others.map((other) => place(other.name, () => other.gate.pass()));
    await Promise.all(others.map((other) => other.gate.reached));
    others.forEach((other) => other.gate.open());
    await Promise.all(running);
    gate.open();
    const first = await slow;
    const waited = duplicates.filter((_, index) => index % 2 === 1);
    expect(new Set(await Promise.all(waited))).toEqual(new Set([first]));
  });

  it('is asked by one only of those who wait for another process', async () => {
    const other = await ledger.another();
    const gate = new TestGate();
    const theirs = other.service.execute({ key }, async () => {
      await gate.pass();
      return 'theirs';
    });
    await gate.reached;
    const waiting = Array.from({ length: 50 }, () =>
      ledger.service.execute(
        { key, onConcurrent: 'wait', waitTimeout: '20s' },
        async () => 'never',
      ),
    );
    expect(await place(`${key}-other`)).toBe(1);
    gate.open();
    await theirs;
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['theirs']));
  });
});

describe.each(servers)('a pool on %s that lets requests wait for ever', (path) => {
  it('is warned of at startup, with what to write, and one that does not is not', async () => {
    const warnings: string[] = [];
    const { warn } = Logger.prototype;
    Logger.prototype.warn = (text: unknown) => void warnings.push(String(text));
    try {
      await openLedger(path).then((ledger) => ledger.close());
      const option = path === 'postgres' ? 'connectTimeoutMS: 5_000' : 'extra: { queueLimit: 100 }';
      expect(warnings).toEqual([
        `The connection pool of the DataSource lets requests wait for ever. Add ${option} to its options.`,
      ]);
      const extra = path === 'postgres' ? { connectTimeoutMS: 500 } : { extra: { queueLimit: 9 } };
      await openLedger(path, { extra }).then((ledger) => ledger.close());
      expect(warnings).toHaveLength(1);
    } finally {
      Logger.prototype.warn = warn;
    }
  });
});

describe.each(ledgerPaths())('what a request costs on %s', (path) => {
  it('is the same few statements each time, around those of its own', async () => {
    const log = new StatementLog();
    const ledger = await openLedger(path, { extra: { logger: log } });
    try {
      const place = () => ledger.service.execute({ key: 'k', lease: '30s' }, async () => 1);
      const count = async () => (await log.during(place)).length;
      // of SQLite only the application's own statements are logged
      const [fresh, replayed] = {
        sqlite: [0, 0],
        'sqlite-file': [0, 0],
        postgres: [2, 2], // the claim travels with BEGIN, the completion with COMMIT
        mariadb: [10, 5],
        'mysql-statements': [13, 7],
      }[path] as [number, number];
      expect([await count(), await count()]).toEqual([fresh, replayed]);
    } finally {
      await ledger.close();
    }
  });
});

if (servers.includes('postgres')) {
  it('PostgreSQL commits once for each request, and never for a replay', async () => {
    const ledger = await openLedger('postgres');
    try {
      const place = (key: string) =>
        ledger.service.execute({ key }, async () => {
          await ledger.entries.insert({ name: key });
        });
      await place('warm-up');
      const commits = async (): Promise<number> => {
        await ledger.dataSource.query('SELECT pg_stat_force_next_flush()');
        const [row] = (await ledger.dataSource.query(
          `SELECT pg_stat_get_db_xact_commit(oid) AS commits FROM pg_database
           WHERE datname = current_database()`,
        )) as [{ commits: string }];
        return Number(row.commits);
      };
      const settled = async (): Promise<number> => {
        let last = -1;
        let step = -1;
        await eventually(async () => {
          const now = await commits();
          step = now - last;
          last = now;
          return step === 2; // the two statements of this look, and nothing else
        }, 'the statistics have settled');
        return last;
      };
      const before = await settled();
      for (let index = 0; index < 10; index += 1) await place(`k-${index}`);
      const afterFresh = await settled();
      for (let index = 0; index < 10; index += 1) await place(`k-${index}`);
      const afterReplays = await settled();
      // each look commits two statements of its own, and is repeated until nothing else is new
      expect((afterFresh - before - 10) % 2).toBe(0);
      expect(afterFresh - before - 10).toBeLessThanOrEqual(6);
      expect(afterReplays - afterFresh).toBeLessThanOrEqual(6);
    } finally {
      await ledger.close();
    }
  });
}
