import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { crashAt, type CrashPoint } from 'nestjs-idempotency/testing';
import type { DataSource } from 'typeorm';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import { eventually, send, untilDone, type RawResponse } from '../support/http.js';
import { createEffects, effectsOf, killAll, startShop, type Shop } from '../support/shop.js';

const dialects = ['sqlite-file', 'postgres'] as const;

describe.each(dialects)('a process that crashes on purpose over %s', (dialect) => {
  let database: TestDatabase;
  let observer: DataSource;
  const shops: Shop[] = [];

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    observer = await database.open({ synchronize: true });
    await new TypeOrmStore(observer).init();
    await createEffects(observer);
  });
  afterAll(async () => {
    await killAll(shops);
    await database.drop();
  });

  const start = async (server: 'shop' | 'steps', env?: Record<string, string>): Promise<Shop> => {
    const { options: dataSource } = database;
    const idempotency = { lease: '500ms', cleanup: false } as const;
    const shop = await startShop({ platform: 'express', dataSource, idempotency }, server, env);
    shops.push(shop);
    return shop;
  };
  /** Who is asked after somebody died. */
  const others: Partial<Record<'shop' | 'steps', Promise<Shop>>> = {};
  const other = (server: 'shop' | 'steps'): Promise<Shop> => (others[server] ??= start(server));

  /** Asks a process that dies of it, and then another one until there is an outcome. */
  const crash = async (
    server: 'shop' | 'steps',
    env: Record<string, string>,
    request: { readonly path: string; readonly key: string; readonly body: object },
  ): Promise<RawResponse> => {
    const doomed = await start(server, env);
    await expect(send(doomed, request)).rejects.toThrow('ended before a response');
    await doomed.exited;
    expect(doomed.process.signalCode).toBe('SIGKILL');
    const heir = await other(server);
    return untilDone(() => send(heir, request));
  };

  type Row = [path: string, point: CrashPoint, effects: number, isReplay: boolean];
  const everywhere: Row[] = [
    ['/effects', 'before-claim', 1, false],
    ['/effects', 'after-claim', 1, false],
    ['/effects', 'before-record', 2, false],
    ['/effects', 'after-record', 1, true],
    ['/effects/transactional', 'after-claim', 1, false],
    ['/effects/transactional', 'before-record', 1, false],
    ['/effects/transactional', 'before-commit', 1, false],
    ['/effects/transactional', 'after-record', 1, true],
  ];
  // every start of a process takes a second or two
  const corners: CrashPoint[] = ['before-record', 'after-record', 'after-step-record'];
  const isRun = (at: CrashPoint): boolean => dialect === 'sqlite-file' || corners.includes(at);
  const rows = everywhere.filter(([, at]) => isRun(at));

  // some at a time: most of the time they wait for a process that starts
  it.concurrent.each(rows)('%s %s: %i in the end', async (path, point, effects, isReplay) => {
    const name = randomUUID();
    const answer = await crash('shop', crashAt(point), { path, key: name, body: { name } });
    expect(answer.status).toBe(201);
    expect(answer.header('idempotent-replayed')).toBe(isReplay ? 'true' : undefined);
    expect(await effectsOf(observer, name)).toHaveLength(effects);
  });

  const steps: [point: CrashPoint, charges: number][] = [
    ['before-step-record', 2],
    ['after-step-record', 1],
  ];
  it.concurrent.each(steps.filter(([at]) => isRun(at)))(
    'the second step, %s: done %i times',
    async (point, charges) => {
      const name = randomUUID();
      const request = { path: '/orders', key: name, body: { name } };
      const answer = await crash('steps', crashAt(point, { pass: 2 }), request);
      expect(answer.json()).toMatchObject({ attempt: 2 });
      const done = await Promise.all(
        ['reserve', 'charge', 'mail'].map((what) => effectsOf(observer, `${name} ${what}`)),
      );
      expect(done.map(({ length }) => length)).toEqual([1, charges, 1]);
    },
  );

  it.concurrent('after-effect-started: it stays uncertain', async () => {
    const body = { until: 'paid', declares: true, holdMs: 0 };
    const request = { path: '/payments/block', key: randomUUID(), body };
    const doomed = await start('steps', crashAt('after-effect-started'));
    await expect(send(doomed, request)).rejects.toThrow('ended before a response');
    const heir = await other('steps');
    await eventually(async () => {
      const { code } = (await send(heir, request)).json<{ code?: string }>();
      return code === 'IDEMPOTENCY_OUTCOME_UNCERTAIN';
    }, 'its lease to be over');
  });
});

describe('crashAt', () => {
  it('knows its points', () => {
    expect(() => crashAt('before-lunch' as CrashPoint)).toThrow(
      "There is no point 'before-lunch' to crash at. Write one of: before-claim, after-claim,",
    );
    expect(() => crashAt('toString' as CrashPoint)).toThrow(RangeError);
  });

  it.each([0, 1.5, Number.NaN])('refuses the pass %d', (pass) => {
    expect(() => crashAt('after-claim', { pass })).toThrow('Write a whole number from 1 on.');
  });

  it('adds to the options of Node that are there', () => {
    const before = process.env.NODE_OPTIONS;
    process.env.NODE_OPTIONS = '--no-warnings';
    try {
      expect(crashAt('after-claim').NODE_OPTIONS).toMatch(/^--no-warnings --import=file:/);
    } finally {
      if (before === undefined) delete process.env.NODE_OPTIONS;
      else process.env.NODE_OPTIONS = before;
    }
  });

  it('lets no process start in production', () => {
    const loader = new URL('../support/typeorm-loader.mjs', import.meta.url).href;
    const { NODE_OPTIONS, ...env } = crashAt('after-claim');
    const run = (NODE_ENV: string) =>
      spawnSync(process.execPath, ['-e', ''], {
        env: {
          ...process.env,
          ...env,
          NODE_ENV,
          NODE_OPTIONS: `--import=${loader} ${NODE_OPTIONS}`,
        },
        encoding: 'utf8',
      });
    const { status, stderr } = run('production');
    expect(status).toBe(1);
    expect(stderr).toContain(
      'NESTJS_IDEMPOTENCY_CRASH_AT is set, and this process would die of it.',
    );
    expect(run('test').status).toBe(0);
  });
});
