import 'reflect-metadata';
import { Controller, Post } from '@nestjs/common';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  type IdempotencyContext,
} from 'nestjs-idempotency';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import {
  eventually,
  platforms,
  send,
  startApp,
  type RawResponse,
  type TestApp,
} from '../support/http.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const STORE_TIMEOUT_MS = 400;
/** Generous: the machine may be busy. Without a bound the answer would take for ever. */
const BOUND_MS = 5_000;

let runs = 0;

@Controller()
class WorkController {
  @Post('closed')
  @Idempotent()
  closed() {
    return { run: (runs += 1) };
  }

  @Post('open')
  @Idempotent({ onStoreFailure: 'open' })
  open(@CurrentIdempotency() once: IdempotencyContext | undefined) {
    return { run: (runs += 1), attempt: once?.attempt };
  }
}

describe.each(platforms)('while the database is away, on %s', (platform) => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let dataSource: DataSource;
  let app: TestApp;
  let unprotected: unknown[];
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    database = await createTestDatabase('postgres');
    const url = new URL((database.options as { url: string }).url);
    proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5432) });
    url.host = `127.0.0.1:${proxy.port}`;
    dataSource = await new DataSource({
      type: 'postgres',
      url: url.href,
      synchronize: true,
      extra: { max: 3 },
    }).initialize();
    app = await startApp(platform, {
      imports: [
        IdempotencyModule.forRoot({
          store: new TypeOrmStore(dataSource),
          storeTimeout: STORE_TIMEOUT_MS,
          cleanup: false,
          hooks: { onUnprotected: (event) => unprotected.push(event) },
        }),
      ],
      controllers: [WorkController],
    });
  });
  afterAll(async () => {
    await app.close();
    proxy.mode('cut');
    await dataSource.destroy();
    await proxy.close();
    await database.drop();
  });
  beforeEach(() => {
    runs = 0;
    unprotected = [];
    key = `key-${(keys += 1)}`;
  });
  afterEach(async () => {
    // connections that fell silent do not come back by themselves
    proxy.mode('cut');
    proxy.mode('through');
    await untilAnswered(dataSource);
  });

  const post = (path: string): Promise<RawResponse> => send(app, { path, key, body: {} });

  it.each(['cut', 'silent'] as const)(
    'a connection that is %s: 503 within a bounded time, nothing runs, and the key works afterwards',
    async (mode) => {
      proxy.mode(mode);
      const startedAt = performance.now();
      const answers = await Promise.all([post('/closed'), post('/closed'), post('/closed')]);
      expect(performance.now() - startedAt).toBeLessThan(STORE_TIMEOUT_MS + BOUND_MS);
      for (const answer of answers) {
        expect(answer.json()).toMatchObject({
          status: 503,
          code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
          retryable: true,
        });
        expect(answer.header('content-type')).toBe('application/problem+json');
        expect(answer.header('retry-after')).toMatch(/^[1-9]\d*$/);
        expect(answer.text).not.toMatch(/ECONN|postgres|5432|terminated/i);
      }
      expect(runs).toBe(0);
      expect(unprotected).toEqual([]);
      proxy.mode('cut');
      proxy.mode('through');
      await untilAnswered(dataSource);
      let answer = await post('/closed');
      await eventually(async () => {
        // a claim whose reply was lost is given back as soon as that can be told to the database
        answer = answer.status === 409 ? await post('/closed') : answer;
        return answer.status !== 409;
      }, 'the claim to be given back');
      expect(answer.json()).toEqual({ run: 1 });
      expect((await post('/closed')).header('idempotent-replayed')).toBe('true');
    },
    30_000,
  );

  it.each(['cut', 'silent'] as const)(
    "onStoreFailure: 'open' runs, says that it is unprotected, and tells the hook: %s",
    async (mode) => {
      expect((await post('/open')).header('idempotency-unprotected')).toBeUndefined();
      key += '-down';
      proxy.mode(mode);
      for (const run of [2, 3]) {
        const answer = await post('/open');
        expect(answer.status).toBe(201);
        expect(answer.json()).toMatchObject({ run });
        expect(answer.header('idempotency-unprotected')).toBe('true');
        expect(answer.header('idempotent-replayed')).toBeUndefined();
      }
      expect(unprotected).toHaveLength(2);
      expect(unprotected[0]).toMatchObject({ handler: 'WorkController.open' });
      expect(JSON.stringify(unprotected)).not.toContain('key-');
    },
    30_000,
  );
});

describe.each(platforms)('a pool that was ended, on %s', (platform) => {
  it('is a store that is down', async () => {
    runs = 0;
    const database = await createTestDatabase('postgres');
    const dataSource = await database.open({ synchronize: true });
    const app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: new TypeOrmStore(dataSource), cleanup: false })],
      controllers: [WorkController],
    });
    try {
      await dataSource.destroy();
      const answer = await send(app, { path: '/closed', key: 'k', body: {} });
      expect(answer.json()).toMatchObject({ status: 503, code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
      expect(answer.header('retry-after')).toMatch(/^[1-9]\d*$/);
      expect(runs).toBe(0);
    } finally {
      await app.close();
      await database.drop();
    }
  });
});

async function untilAnswered(dataSource: DataSource): Promise<void> {
  for (;;) {
    try {
      await dataSource.query('SELECT 1');
      return;
    } catch {
      // the pool has not noticed yet
    }
  }
}
