import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { Body, Controller, Logger, Post } from '@nestjs/common';
import { jest } from '@jest/globals';
import { Redis } from 'ioredis';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
} from 'nestjs-idempotency';
import { redisStore } from 'nestjs-idempotency/redis';
import {
  eventually,
  platforms,
  send,
  startApp,
  untilDone,
  type RawResponse,
  type TestApp,
} from '../support/http.js';
import { describeRedis, startRedis, type RedisServer } from '../support/redis/servers.js';
import { killAll, startShop, type Shop } from '../support/shop.js';

let runs = 0;

@Controller()
class OrdersController {
  @Post('orders')
  @Idempotent({ onConcurrent: 'wait' })
  async place(@Body() { amount }: { amount: number }) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return { order: (runs += 1), amount };
  }

  @Post('steps')
  @Idempotent()
  async steps(@Body() { fail }: { fail: boolean }, @CurrentIdempotency() once: IdempotencyContext) {
    const charge = await once.step('charge', () => ({ charge: (runs += 1) }));
    if (fail && once.attempt === 1) throw new Error('after the charge');
    return { ...charge, attempt: once.attempt };
  }

  @Post('transaction')
  @Idempotent({ errors: 'store-all' })
  async transaction(@CurrentIdempotency() once: IdempotencyContext) {
    const told = await once.transaction('part', () => undefined).catch((error: unknown) => error);
    return { told: (told as Error).message };
  }
}

@Controller()
class TransactionalController {
  @Post('together')
  @Idempotent({ mode: 'transactional' })
  together() {}
}

describeRedis('redisStore() in an application', () => {
  let server: RedisServer;
  let client: Redis;
  beforeAll(async () => {
    server = await startRedis();
    client = new Redis(server.port, '127.0.0.1');
    client.on('error', () => undefined);
  });
  afterAll(async () => {
    client.disconnect();
    await server.stop();
  });

  const moduleWith = (options: IdempotencyModuleOptions = {}) =>
    IdempotencyModule.forRoot({ store: redisStore({ client }), cleanup: false, ...options });

  it('lets a caller have no more keys than it may, from two applications at once, and says what it costs', async () => {
    runs = 0;
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const scope = ({ headers }: { headers: Record<string, unknown> }) => String(headers['x-user']);
    const options = { scope, maxKeysPerScope: 3, storeTimeout: '20s', lease: '60s' } as const;
    const apps: TestApp[] = [];
    try {
      for (const platform of platforms) {
        const metadata = { imports: [moduleWith(options)], controllers: [OrdersController] };
        apps.push(await startApp(platform, metadata));
      }
      expect(warn.mock.calls.flat().join()).toContain('no index on scope');
      const order = (n: number): Promise<RawResponse> =>
        send(apps[n % 2] as TestApp, {
          path: '/orders',
          key: `limited-${n}`,
          headers: [['x-user', 'ann']],
          body: { amount: n },
        });
      await Promise.all(Array.from({ length: 30 }, (_, n) => order(n)));
      expect(runs).toBeLessThanOrEqual(3);
      for (let n = 30; n < 36; n++) await order(n);
      expect(runs).toBe(3);
    } finally {
      await Promise.all(apps.map((app) => app.close()));
      warn.mockRestore();
    }
  });

  describe.each(platforms)('on %s', (platform) => {
    let app: TestApp;
    let key: string;
    beforeAll(async () => {
      app = await startApp(platform, {
        imports: [moduleWith({ storeTimeout: 400 })],
        controllers: [OrdersController],
      });
    });
    beforeEach(() => {
      runs = 0;
      key = randomUUID();
    });
    afterAll(() => app.close());

    const post = (path: string, body: object = {}): Promise<RawResponse> =>
      send(app, { path, key, body });

    it('answers a retry with the first answer, and runs once', async () => {
      const first = await post('/orders', { amount: 5 });
      const again = await post('/orders', { amount: 5 });
      expect([first.status, first.text]).toEqual([201, '{"order":1,"amount":5}']);
      expect([again.status, again.text]).toEqual([201, first.text]);
      expect(again.header('idempotent-replayed')).toBe('true');
      expect((await post('/orders', { amount: 6 })).json()).toMatchObject({
        status: 422,
        code: 'IDEMPOTENCY_KEY_REUSED',
      });
      expect(runs).toBe(1);
    });

    it('runs once for twenty at once', async () => {
      const orders = Array.from({ length: 20 }, () => post('/orders', { amount: 5 }));
      const answers = await Promise.all(orders);
      expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['{"order":1,"amount":5}']));
    });

    it('resumes behind a finished step', async () => {
      expect((await post('/steps', { fail: true })).status).toBe(500);
      expect((await post('/steps', { fail: true })).json()).toEqual({ charge: 1, attempt: 2 });
    });

    it('has no transaction for a step, and says so', async () => {
      const { told } = (await post('/transaction')).json<{ told: string }>();
      expect(told).toMatch(/^The redis store has no transactions that a step could be part of/);
    });

    it('tells operators of the record', async () => {
      await post('/orders', { amount: 5 });
      const service = app.app.get(IdempotencyService);
      const records = await service.list({ limit: 100 });
      expect(records.filter((record) => record.key === key)).toMatchObject([
        { state: 'completed', attemptsStarted: 1 },
      ]);
    });

    it('runs nothing while the server is silent, and works afterwards', async () => {
      await server.kill('SIGSTOP');
      const answer = await post('/orders', { amount: 5 }).finally(() => server.kill('SIGCONT'));
      expect([answer.status, runs]).toEqual([503, 0]);
      expect(answer.json()).toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
      expect(answer.text).not.toContain('ioredis');
      await eventually(() => client.ping().then(Boolean, () => false), 'the server is back');
      expect((await untilDone(() => post('/orders', { amount: 5 }))).text).toContain('"order":1');
    });
  });

  it("refuses mode: 'transactional' when the application starts", async () => {
    const app = startApp('express', {
      imports: [moduleWith()],
      controllers: [TransactionalController],
    });
    await expect(app).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringMatching(
        /TransactionalController\.together.*'transactional', but the redis store has no transactions.*typeOrmStore\(\).*'lease'/,
      ) as string,
    });
  });

  it('says when the application starts that the server may lose records', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const app = await startApp('express', { imports: [moduleWith()] });
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('Set appendonly yes'));
    warn.mockRestore();
    await app.close();
  });

  describe('when its process is killed', () => {
    const shops: Shop[] = [];
    /** Who is asked after somebody else died. */
    let other: Shop;
    beforeAll(async () => {
      other = await start();
    }, 60_000);
    afterAll(() => killAll(shops));

    const start = async (dieAt?: 'handler:before' | 'complete:before' | 'complete:after') => {
      const idempotency = { lease: 2_000, cleanup: false } as const;
      const shop = await startShop(
        { platform: 'fastify', redisPort: server.port, idempotency, ...(dieAt && { dieAt }) },
        'redis',
      );
      shops.push(shop);
      return shop;
    };

    it.each([
      ['handler:before', 1, 2],
      ['complete:before', 2, 2],
      ['complete:after', 1, 1],
    ] as const)(
      'at %s: a retry has the one answer',
      async (dieAt, effects, attempt) => {
        const name = randomUUID();
        const order = (shop: Shop) => send(shop, { path: '/effects', key: name, body: { name } });
        const victim = await start(dieAt);
        const cut = await order(victim).catch(() => 'cut');
        expect(cut).toBe('cut');
        await victim.exited;
        if (attempt === 2) {
          expect((await order(other)).json()).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
        }
        const answer = await untilDone(() => order(other));
        expect(answer.json()).toMatchObject({ attempt });
        const ids = await client.lrange(`effects of ${name}`, 0, -1);
        expect(ids.length).toBe(effects);
        expect(answer.json<{ id: string }>().id).toBe(ids.at(-1));
        expect((await order(other)).text).toBe(answer.text);
      },
      60_000,
    );
  });
});
