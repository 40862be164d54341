import { execFile, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { compileInto } from '../support/compile.mjs';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/http.js';
import { startProgram } from '../support/program.js';
import { startServiceOn } from '../support/service-app.js';
import { claimed, request } from '../support/typeorm-stores.js';

/** A child process on a busy machine. */
const PATIENCE_MS = 180_000;
const dialects = availableDialects().filter((name) => name !== 'sqlite' && name !== 'mysql');

interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'idempotency-cli-'));
  await compileInto(home, ['src']);
}, PATIENCE_MS);
afterAll(() => rm(home, { recursive: true }));

function cli(...args: string[]): Promise<Answer> {
  const bin = join(home, 'src/cli/main.js');
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [bin, ...args], { cwd: home }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
    child.stdin?.end();
  });
}

function parsed({ code, out, err }: Answer): any {
  if (code !== 0) throw new Error(`exit code ${code}: ${err}`);
  return JSON.parse(out);
}

describe.each(dialects)('nestjs-idempotency on %s', (dialect) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let host: ChildProcess;
  const file = ['-d', `${dialect}.mjs`];
  /** In the host of all commands: how a process begins and ends is told by the others. */
  const on = async (...args: string[]): Promise<Answer> => {
    const answer = once(host, 'message');
    host.send({ args: [...args, ...file] });
    const [told] = (await answer) as [Answer];
    return told;
  };
  const json = async (...args: string[]): Promise<any> => parsed(await on(...args, '--json'));

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    // what an application may have in it, and a command must not do
    const options = { ...database.options, synchronize: true, dropSchema: true, logging: true };
    await writeFile(
      join(home, `${dialect}.mjs`),
      `import { DataSource } from 'typeorm';
       setInterval(() => {}, 1000);
       export const shop = new DataSource({ ...${JSON.stringify(options)}, entities: ['nowhere/*.ts'] });
       export default shop;`,
    );
    dataSource = await database.open();
    host = startProgram('cli-host', {}, { cwd: home, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  }, PATIENCE_MS);
  afterAll(async () => {
    host.kill();
    await database.drop();
  });

  it(
    'makes the table, after it has said how, and once',
    async () => {
      const alone = (...args: string[]): Promise<Answer> => cli(...args, ...file);
      const missing = await alone('stats');
      expect(missing).toMatchObject({ code: 1, out: '' });
      expect(missing.err).toContain('is missing');

      const isDaily = dialect === 'postgres';
      const more = ['--outbox', '--scope-index', ...(isDaily ? ['--daily-partitions'] : [])];
      const dry = await alone('migrate', '--dry-run', ...more);
      expect(dry).toMatchObject({ code: 0, err: '' });
      expect(dry.out).toMatch(/CREATE TABLE IF NOT EXISTS .idempotency_record./);
      expect(dry.out).toMatch(/CREATE TABLE IF NOT EXISTS .idempotency_outbox./);
      expect(dry.out).toMatch(/CREATE INDEX .*idempotency_record_scope/);
      expect(dry.out.includes('PARTITION BY RANGE (id)')).toBe(isDaily);
      expect((await alone('stats')).code).toBe(1);

      expect(parsed(await alone('migrate', '--outbox', '--json'))).toEqual({
        executed: ['CreateIdempotencyRecord1764000000000', 'CreateIdempotencyOutbox1764000000001'],
      });
      await dataSource.query('SELECT 1 FROM idempotency_outbox');
      const again = await alone('migrate', '--outbox');
      expect(again).toMatchObject({ code: 0, err: '' });
      expect(again.out).toContain('nothing to do');
    },
    PATIENCE_MS,
  );

  it(
    'shows records, and outcomes only where they are asked for',
    async () => {
      const { service, close } = await startServiceOn(dataSource);
      await service.execute({ key: 'k-1', scope: 'ann' }, async () => ({ card: '4242 4242' }));
      await service.execute({ key: 'k-2', scope: 'ann' }, async () => new Map([[1n, 'secret']]));
      await close();

      const listed = await json('list', '--scope', 'ann', '--state', 'completed');
      expect(listed.map(({ key }: { key: string }) => key).sort()).toEqual(['k-1', 'k-2']);
      const [first] = await json('list', '--limit', '1');
      const page = await on('list', '--limit', '1');
      expect(page.err).toContain(`--after ${first.id}`);
      const [second] = await json('list', '--limit', '1', '--after', first.id);
      expect(second.id > first.id).toBe(true);

      const text = await on('show', '--key', 'k-1', '--scope', 'ann');
      expect(text).toMatchObject({ code: 0, err: '' });
      expect(text.out).toMatch(/^state +completed$/m);
      expect(text.out + JSON.stringify(listed)).not.toContain('4242 4242');
      const view = await json('show', '--key', 'k-1', '--scope', 'ann', '--result');
      expect(view.outcome).toEqual({ kind: 'value', value: { card: '4242 4242' } });
      const { id } = await json('show', '--key', 'k-2', '--scope', 'ann', '--operation', 'execute');
      const byId = await on('show', '--id', id, '--result');
      expect(byId.out).toContain("Map(1) { 1n => 'secret' }");

      const another = await on('show', '--key', 'k-1', '--scope', 'bob');
      expect(another).toMatchObject({ code: 1, out: '' });
    },
    PATIENCE_MS,
  );

  it(
    'forgets a record when somebody says yes, and never a running attempt',
    async () => {
      const { service, close } = await startServiceOn(dataSource);
      let runs = 0;
      const pay = () => service.execute({ key: 'f-1' }, async () => (runs += 1));
      await pay();
      const asked = await on('forget', '--key', 'f-1');
      expect(asked).toMatchObject({ code: 2, out: '' });
      expect(asked.err).toContain('--yes');
      expect(await pay()).toBe(1);
      expect((await on('forget', '--key', 'f-1', '--yes')).code).toBe(0);
      expect(await pay()).toBe(2);
      await close();

      const store = new TypeOrmStore(dataSource);
      await store.init();
      const running = await claimed(store, { leaseMs: 600_000 });
      expect((await on('forget', '--id', running.id, '--yes')).code).toBe(1);
      expect((await store.find(running.id))?.owner).toBe(running.owner);
      expect((await on('forget', '--key', 'never', '--yes')).code).toBe(1);
    },
    PATIENCE_MS,
  );

  it(
    'settles what nobody knows, in the words of the service',
    async () => {
      const { service, close } = await startServiceOn(dataSource);
      const fail = (key: string) =>
        service.execute({ key, scope: 'ann' }, async (once) => {
          await once.effectStarted();
          throw new Error('the line went dead');
        });
      const retry = (key: string) =>
        service.execute({ key, scope: 'ann' }, async () => 'ran again');
      for (const key of ['u-1', 'u-2', 'u-3']) await expect(fail(key)).rejects.toThrow('went dead');
      const where = (key: string) => ['--key', key, '--scope', 'ann', '--yes'];

      const withoutTtl = await on('resolve', ...where('u-1'), '--verdict', 'done');
      expect(withoutTtl).toMatchObject({ code: 2 });
      expect(withoutTtl.err).toContain('--ttl');
      for (const verdict of ['maybe', '{"result":', '{"answer":1}']) {
        const refused = await on('resolve', ...where('u-1'), '--verdict', verdict, '--ttl', '1h');
        expect(refused.code).toBe(2);
      }
      const response = '{"response":{"status":201}}';
      const unfit = await on('resolve', ...where('u-1'), '--verdict', response, '--ttl', '1h');
      expect(unfit.code).toBe(1);

      const result = ['--verdict', '{"result":{"charged":7}}', '--ttl', '1h'];
      expect(await on('resolve', ...where('u-1'), ...result)).toMatchObject({ code: 0, err: '' });
      expect(await retry('u-1')).toEqual({ charged: 7 });
      expect((await on('resolve', ...where('u-1'), ...result)).code).toBe(1);

      const { id } = await json('show', '--key', 'u-2', '--scope', 'ann');
      const done = ['--verdict', 'done', '--ttl', '1h', '--yes'];
      expect((await on('resolve', '--id', id, ...done)).code).toBe(0);
      await expect(retry('u-2')).rejects.toMatchObject({
        code: 'IDEMPOTENCY_RESULT_UNAVAILABLE',
      });
      expect((await on('resolve', ...where('u-3'), '--verdict', 'absent')).code).toBe(0);
      expect(await retry('u-3')).toBe('ran again');
      await close();
    },
    PATIENCE_MS,
  );

  it(
    'keeps no outcome for a key that it cannot read',
    async () => {
      const store = new TypeOrmStore(dataSource);
      await store.init();
      const masked = await claimed(store, { key: '****' });
      await store.markUncertain(masked);
      const done = ['--verdict', 'done', '--ttl', '1h', '--yes'];
      const refused = await on('resolve', '--id', masked.id, ...done);
      expect(refused.code).toBe(2);
      expect(refused.err).toContain('--key');
      const absent = await on('resolve', '--id', masked.id, '--verdict', 'absent', '--yes');
      expect(absent.code).toBe(0);
      expect(await store.find(masked.id)).toBeNull();
    },
    PATIENCE_MS,
  );

  it(
    'redrives what is parked, and nothing else',
    async () => {
      const { service, close } = await startServiceOn(dataSource);
      let isBroken = true;
      const work = () =>
        service.execute({ key: 'p-1', attempts: { max: 1 } }, async () => {
          if (isBroken) throw new Error('out of paper');
          return 'printed';
        });
      await expect(work()).rejects.toThrow('out of paper');
      await expect(work()).rejects.toMatchObject({ code: 'IDEMPOTENCY_PARKED' });
      expect((await on('show', '--key', 'p-1')).out).toContain('out of paper');
      isBroken = false;
      expect((await on('redrive', '--key', 'p-1', '--yes')).code).toBe(0);
      expect(await work()).toBe('printed');
      const again = await on('redrive', '--key', 'p-1', '--yes');
      expect(again.err).toContain('completed, not parked');
      expect(again.code).toBe(1);
      await close();
    },
    PATIENCE_MS,
  );

  it(
    'counts and cleans up',
    async () => {
      const store = new TypeOrmStore(dataSource);
      await store.init();
      const before = await json('stats');
      const running = await claimed(store);
      const { id } = await claimed(store, { leaseMs: 1, ttlMs: 1 });
      await eventually(async () => (await store.find(id)) === null, 'its lease is over');
      const after = await json('stats');
      const added = (state: string): number => after.records[state] - before.records[state];
      expect(added('in-progress')).toBe(1);
      expect(added('expired')).toBe(1);
      expect(Date.parse(after.oldestInProgress)).toBeGreaterThan(0);
      if (dialect === 'sqlite-file') expect(after.size).toBeNull();
      else expect(after.size.tableBytes).toBeGreaterThan(0);

      const { deleted } = await json('cleanup');
      expect(deleted).toBe(after.records.expired);
      expect((await json('stats')).records.expired).toBe(0);
      expect(await store.find(running.id)).not.toBeNull();
    },
    PATIENCE_MS,
  );

  it(
    'connects by a URL too',
    async () => {
      const { options } = database;
      const url = 'url' in options ? String(options.url) : `sqlite:${String(options.database)}`;
      expect(await cli('stats', '--url', url)).toMatchObject({ code: 0, err: '' });
    },
    PATIENCE_MS,
  );
});

describe('nestjs-idempotency', () => {
  it.concurrent.each([
    [[], 'no command'],
    [['undo'], "no command 'undo'"],
    [['list', '--key', 'k', '--url', 'sqlite:x'], 'no option --key'],
    [['list'], '--url'],
    [['list', '--url', 'oracle://x'], 'postgres:'],
    [['list', '--colour'], '--colour'],
  ])(
    'says in one line what is wrong with %j',
    async (args, part) => {
      const { code, out, err } = await cli(...args);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toContain(part);
      expect(err.trim()).not.toContain('\n');
    },
    PATIENCE_MS,
  );

  it.concurrent(
    'explains itself',
    async () => {
      const { code, out } = await cli('--help');
      expect(code).toBe(0);
      expect(out).toContain('redrive');
    },
    PATIENCE_MS,
  );

  it.concurrent(
    'says how to load TypeScript, and which file has no DataSource',
    async () => {
      await writeFile(join(home, 'typed.mts'), 'export enum Kind { A }');
      const typed = await cli('list', '-d', 'typed.mts');
      expect(typed.code).toBe(1);
      expect(typed.err).toContain('--import tsx');
      await writeFile(join(home, 'empty.mjs'), 'export const a = 1;');
      expect((await cli('list', '-d', 'empty.mjs')).err).toContain('no DataSource');
      const two = `import { DataSource } from 'typeorm';
        const options = { type: 'better-sqlite3', database: ':memory:' };
        export const a = new DataSource(options);
        export const b = new DataSource(options);`;
      await writeFile(join(home, 'two.mjs'), two);
      expect((await cli('list', '-d', 'two.mjs')).err).toContain('more than one DataSource');
    },
    PATIENCE_MS,
  );

  it.concurrent(
    'says neither password nor statement when there is no database',
    async () => {
      const { code, out, err } = await cli('list', '--url', 'postgres://ann:secret@127.0.0.1:1/x');
      expect({ code, out }).toEqual({ code: 1, out: '' });
      expect(err).toContain('ECONNREFUSED');
      expect(err).not.toContain('secret');
    },
    PATIENCE_MS,
  );

  it.concurrent(
    'shows the terminal no control characters of clients',
    async () => {
      const database = await createTestDatabase('sqlite-file');
      try {
        const store = new TypeOrmStore(await database.open({ synchronize: true }));
        await store.init();
        await store.claim(request({ key: 'a\u001b[2Jb\u009b1m' }));
        const url = `sqlite:${String(database.options.database)}`;
        const text = await cli('list', '--url', url);
        expect(text.out).toContain('a\\u001b[2Jb\\u009b1m');
        const { out } = await cli('list', '--json', '--url', url);
        for (const control of ['\u001b', '\u009b']) expect(out).not.toContain(control);
        expect(JSON.parse(out)).toMatchObject([{ key: 'a\u001b[2Jb\u009b1m' }]);
      } finally {
        await database.drop();
      }
    },
    PATIENCE_MS,
  );
});
