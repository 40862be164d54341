import { Controller, Get, Inject, Injectable, Post } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyContext,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { IdempotencyHealthIndicator, type HealthOptions } from 'nestjs-idempotency/terminus';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import { ProbeStore, fails, hangs } from '../support/engine/probe-store.js';
import { send, startApp, type TestApp } from '../support/http.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

let options: HealthOptions = {};

@Injectable()
@Controller('health')
class HealthController {
  constructor(
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(IdempotencyHealthIndicator) private readonly idempotency: IdempotencyHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check() {
    return this.health.check([() => this.idempotency.check('idempotency', options)]);
  }
}

@Controller('work')
class WorkController {
  @Post('done')
  @Idempotent()
  done() {
    return {};
  }

  @Post('unknown')
  @Idempotent()
  async unknown(@CurrentIdempotency() once: IdempotencyContext) {
    await once.effectStarted();
    throw new Error('nobody knows');
  }
}

const started: TestApp[] = [];
afterEach(async () => {
  options = {};
  await Promise.all(started.splice(0).map((app) => app.close()));
});

async function start(store: IdempotencyStore): Promise<TestApp> {
  const app = await startApp('express', {
    imports: [
      TerminusModule.forRoot({ logger: false }),
      IdempotencyModule.forRoot({ store, cleanup: false, ttl: '1s', storeTimeout: '3s' }),
    ],
    controllers: [HealthController, WorkController],
    providers: [IdempotencyHealthIndicator],
  });
  started.push(app);
  return app;
}

interface Health {
  readonly status: number;
  readonly idempotency: Record<string, unknown>;
}

async function probe(app: TestApp): Promise<Health> {
  const answer = await send(app, { method: 'GET', path: '/health' });
  const { details } = answer.json<{ details: { idempotency: Record<string, unknown> } }>();
  return { status: answer.status, idempotency: details.idempotency };
}

describe.each(availableDialects())('health on %s', (dialect) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  const app = () => start(new TypeOrmStore(dataSource));

  beforeEach(async () => {
    database = await createTestDatabase(dialect);
    dataSource = await database.open({ synchronize: true });
  });
  afterEach(() => database.drop());

  it('tells what waits for somebody', async () => {
    const service = await app();
    await send(service, { path: '/work/done', key: 'a' });
    await send(service, { path: '/work/unknown', key: 'b' });
    await park(service);
    await dataSource.query(
      'UPDATE idempotency_record SET sweep_at = 0, expires_at = 1 WHERE state = 1',
    );
    expect(await probe(service)).toEqual({
      status: 200,
      idempotency: { status: 'up', uncertain: 1, parked: 1, expired: 1 },
    });
  });

  it('is down while the table is missing, and says what to do', async () => {
    const service = await app();
    await dataSource.query('DROP TABLE idempotency_record');
    const { status, idempotency } = await probe(service);
    expect(status).toBe(503);
    expect(idempotency).toMatchObject({ status: 'down', code: 'IDEMPOTENCY_MISCONFIGURED' });
    expect(idempotency.message).toContain('idempotencyMigrations()');
    await dataSource.synchronize();
    await new TypeOrmStore(dataSource).init();
    expect((await probe(service)).status).toBe(200);
  });

  it('is down when the table is older than this version', async () => {
    const service = await app();
    await dataSource.query('ALTER TABLE idempotency_record DROP COLUMN steps');
    expect(await probe(service)).toMatchObject({
      status: 503,
      idempotency: { code: 'IDEMPOTENCY_MISCONFIGURED' },
    });
  });
});

describe('health', () => {
  it('asks the store at every probe, and counts once a minute', async () => {
    const store = new ProbeStore(memoryStore());
    const service = await start(store);
    await Promise.all([probe(service), probe(service)]);
    await probe(service);
    expect([store.count('ping'), store.count('countRecords')]).toEqual([3, 3]);
  });

  it('counts again after a count that failed', async () => {
    const store = new ProbeStore(memoryStore());
    const service = await start(store);
    store.plan('countRecords', fails);
    expect(await probe(service)).toMatchObject({
      status: 503,
      idempotency: { code: 'IDEMPOTENCY_STORE_UNAVAILABLE' },
    });
    expect((await probe(service)).status).toBe(200);
  });

  it('is down while the database does not answer, and says nothing of its driver', async () => {
    const database = await createTestDatabase('postgres');
    const url = new URL((database.options as { url: string }).url);
    const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5432) });
    url.host = `127.0.0.1:${proxy.port}`;
    const dataSource = await database.open({ url: url.href, synchronize: true });
    const service = await start(new TypeOrmStore(dataSource));
    options = { timeout: '200ms' };
    expect((await probe(service)).status).toBe(200);
    proxy.mode('silent');
    expect(await probe(service)).toEqual({
      status: 503,
      idempotency: {
        status: 'down',
        code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
        message: 'The store did not answer within 200 ms.',
      },
    });
    proxy.mode('cut');
    await dataSource.destroy();
    await proxy.close();
    await database.drop();
  });

  it.each([
    ['maxUncertain', 'uncertain'],
    ['maxParked', 'parked'],
  ] as const)('is down above %s', async (option, name) => {
    const service = await start(memoryStore());
    await send(service, { path: '/work/unknown', key: 'b' });
    await park(service);
    options = { [option]: 1 };
    expect((await probe(service)).status).toBe(200);
    options = { [option]: 0 };
    expect(await probe(service)).toMatchObject({
      status: 503,
      idempotency: { message: `More than 0 records are ${name}.`, [name]: 1 },
    });
  });

  it('is down above maxExpired', async () => {
    let now = Date.now();
    const service = await start(memoryStore({ now: () => now }));
    await send(service, { path: '/work/done', key: 'a' });
    now += 1_000;
    options = { maxExpired: 0 };
    expect(await probe(service)).toMatchObject({
      status: 503,
      idempotency: { message: 'More than 0 records are expired.' },
    });
  });

  it('takes a table that is long to count for no illness', async () => {
    const store = new ProbeStore(memoryStore());
    store.breakDown(hangs, 'countRecords');
    const service = await start(store);
    options = { timeout: '50ms', maxParked: 0 };
    const probes = [await probe(service), await probe(service)];
    expect(probes).toEqual([
      { status: 200, idempotency: { status: 'up' } },
      { status: 200, idempotency: { status: 'up' } },
    ]);
    expect(store.count('countRecords')).toBe(1);
  });

  it('can be looked at without Terminus', async () => {
    const store = new ProbeStore(memoryStore());
    const service = await start(store);
    await send(service, { path: '/work/done', key: 'a' });
    await send(service, { path: '/work/done', key: 'b' });
    const idempotency = service.app.get(IdempotencyService);
    await idempotency.ping();
    expect(await idempotency.count()).toBe(2);
    expect(await idempotency.count({ state: 'completed' }, 1)).toBe(1);
    expect(await idempotency.count({ state: 'expired' })).toBe(0);
    await expect(idempotency.count({ state: 'lost' as never })).rejects.toThrow(
      /option 'state' is 'lost'. Write one of .*'expired'/,
    );
    await expect(idempotency.count({}, 0)).rejects.toThrow(/'upTo' is 0. Write a whole number/);
    store.breakDown(fails, 'ping');
    await expect(idempotency.ping()).rejects.toThrow();
  });

  it.each([
    [{ timeout: 'soon' }, /option 'timeout' is 'soon'/],
    [{ maxParked: -1 }, /option 'maxParked' is -1. Write a whole number/],
    [{ maxLost: 1 }, /option 'maxLost' is 1. There is no such option/],
  ])('refuses %j', async (wrong, message) => {
    const service = await start(memoryStore());
    const indicator = service.app.get(IdempotencyHealthIndicator);
    await expect(indicator.check('idempotency', wrong as HealthOptions)).rejects.toThrow(message);
  });
});

async function park(service: TestApp): Promise<void> {
  const fails = service.app
    .get(IdempotencyService)
    .execute({ key: 'c', attempts: { max: 1 } }, () => Promise.reject(new Error('again')));
  await expect(fails).rejects.toThrow('again');
}
