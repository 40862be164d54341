import 'reflect-metadata';
import { Controller, Post, type ModuleMetadata } from '@nestjs/common';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  memoryStore,
  type IdempotencyContext,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

const FIFTY = 50;

let runs = 0;
let gate = new TestGate();
let signals: AbortSignal[] = [];

@Controller()
class WorkController {
  @Post('quick')
  @Idempotent()
  async quick() {
    const answer = { run: (runs += 1) };
    await Promise.resolve();
    return answer;
  }

  @Post('gated')
  @Idempotent()
  async gated() {
    const answer = { run: (runs += 1) };
    await gate.pass();
    return answer;
  }

  @Post('waiting')
  @Idempotent({ onConcurrent: 'wait' })
  async waiting() {
    const answer = { run: (runs += 1) };
    await gate.pass();
    return answer;
  }

  @Post('impatient')
  @Idempotent({ onConcurrent: 'wait', waitTimeout: 100 })
  async impatient() {
    const answer = { run: (runs += 1) };
    await gate.pass();
    return answer;
  }

  @Post('failing')
  @Idempotent({ onConcurrent: 'wait' })
  async failing(@CurrentIdempotency() once: IdempotencyContext) {
    const answer = { run: (runs += 1) };
    if (once.attempt === 1) {
      await gate.pass();
      throw new Error('first attempt fails');
    }
    return answer;
  }

  @Post('slower-than-lease')
  @Idempotent({ lease: 150 })
  async slowerThanLease(@CurrentIdempotency() once: IdempotencyContext) {
    signals.push(once.signal);
    const answer = { run: (runs += 1), attempt: once.attempt };
    await gate.pass();
    return answer;
  }
}

const appWith = (store: IdempotencyStore): ModuleMetadata => ({
  imports: [IdempotencyModule.forRoot({ store })],
  controllers: [WorkController],
});

const fiftyAtOnce = (apps: readonly TestApp[], path: string, key: string): Promise<RawResponse[]> =>
  Promise.all(
    Array.from({ length: FIFTY }, (_, index) =>
      send(apps[index % apps.length] as TestApp, { path, key, body: {} }),
    ),
  );

/** One effect; everybody got its answer, or was told to come back. */
const expectOneEffect = (answers: readonly RawResponse[]): void => {
  expect(runs).toBe(1);
  const done = answers.filter(({ status }) => status === 201);
  expect(new Set(done.map(({ text }) => text))).toEqual(new Set(['{"run":1}']));
  expect(done.filter((it) => it.header('idempotent-replayed') === undefined)).toHaveLength(1);
  for (const other of answers.filter(({ status }) => status !== 201)) {
    expect(other.status).toBe(409);
    expect(other.json()).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS', retryable: true });
    expect(other.header('retry-after')).toMatch(/^[1-9]\d*$/);
  }
};

beforeEach(() => {
  runs = 0;
  gate = new TestGate();
  signals = [];
});
afterEach(() => gate.open());

describe.each(platforms)('duplicates at the same time on %s', (platform) => {
  let now = Date.now();
  let store: IdempotencyStore;
  let app: TestApp;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    store = memoryStore({ now: () => now });
    app = await startApp(platform, appWith(store));
  });
  afterAll(() => app.close());
  beforeEach(() => {
    key = `key-${(keys += 1)}`;
  });

  const post = (path: string): Promise<RawResponse> => send(app, { path, key, body: {} });

  it('fifty at once have one effect', async () => {
    expectOneEffect(await fiftyAtOnce([app], '/quick', key));
    expect((await post('/quick')).text).toBe('{"run":1}');
  });

  it('fifty at once on an expired record have one effect', async () => {
    await post('/quick');
    now += 24 * 60 * 60 * 1000 + 1;
    runs = 0;
    expectOneEffect(await fiftyAtOnce([app], '/quick', key));
  });

  it('fifty at once on an abandoned lease have one effect', async () => {
    // leaves a claim behind that its owner never settles nor renews
    const claims: Parameters<IdempotencyStore['claim']>[0][] = [];
    const { claim } = store;
    store.claim = (request) => {
      claims.push(request);
      return claim.call(store, request);
    };
    await post('/quick');
    store.claim = claim;
    const [request] = claims as [(typeof claims)[0]];
    await store.forget(request.id);
    expect((await store.claim({ ...request, owner: 'f'.repeat(32) })).type).toBe('claimed');
    runs = 0;
    expect((await post('/quick')).status).toBe(409);
    expect(runs).toBe(0);
    now += 30_001;
    expectOneEffect(await fiftyAtOnce([app], '/quick', key));
  });

  it('a duplicate is told to come back, and that answer is never stored', async () => {
    const first = post('/gated');
    await gate.reached;
    const rejected = await post('/gated');
    expect(rejected.status).toBe(409);
    expect(rejected.header('content-type')).toBe('application/problem+json');
    expect(rejected.header('retry-after')).toMatch(/^[1-9]\d*$/);
    expect(rejected.header('idempotent-replayed')).toBeUndefined();
    gate.open();
    expect((await first).json()).toEqual({ run: 1 });
    const replayed = await post('/gated');
    expect([replayed.status, replayed.text]).toEqual([201, (await first).text]);
    expect(runs).toBe(1);
  });

  it('Retry-After grows with the time that the first has been running, within its lease', async () => {
    const first = post('/gated');
    await gate.reached;
    now += 7_500;
    expect((await post('/gated')).header('retry-after')).toBe('8');
    now += 17_500;
    expect((await post('/gated')).header('retry-after')).toBe('5');
    gate.open();
    await first;
  });

  it("onConcurrent: 'wait' gets the first answer", async () => {
    const first = post('/waiting');
    await gate.reached;
    const waiting = Array.from({ length: 10 }, () => post('/waiting'));
    gate.open();
    const { text } = await first;
    for (const answer of await Promise.all(waiting)) {
      expect([answer.status, answer.text]).toEqual([201, text]);
      expect(answer.header('idempotent-replayed')).toBe('true');
    }
    expect(runs).toBe(1);
  });

  it("onConcurrent: 'wait' ends after waitTimeout like a rejection", async () => {
    const first = post('/impatient');
    await gate.reached;
    const startedAt = performance.now();
    const answer = await post('/impatient');
    expect(performance.now() - startedAt).toBeGreaterThan(90);
    expect(answer.status).toBe(409);
    expect(answer.json()).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    expect(answer.header('retry-after')).toMatch(/^[1-9]\d*$/);
    gate.open();
    expect((await first).status).toBe(201);
    expect(runs).toBe(1);
  });

  it("onConcurrent: 'wait' runs after all when the first one failed", async () => {
    const first = post('/failing');
    await gate.reached;
    const waiting = [post('/failing'), post('/failing')];
    gate.open();
    expect((await first).status).toBe(500);
    const texts = (await Promise.all(waiting)).map(({ text }) => text);
    expect(texts).toEqual(['{"run":2}', '{"run":2}']);
    expect(runs).toBe(2);
  });
});

describe('over two instances and one PostgreSQL', () => {
  let database: TestDatabase;
  let dataSources: DataSource[];
  let apps: TestApp[];

  beforeAll(async () => {
    database = await createTestDatabase('postgres');
    dataSources = [await database.open({ synchronize: true }), await database.open()];
    const stores = dataSources.map((dataSource) => new TypeOrmStore(dataSource));
    await (stores[0] as TypeOrmStore).init();
    apps = await Promise.all(
      stores.map((store, index) => startApp(platforms[index] as 'express', appWith(store))),
    );
  });
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.close()));
    await database.drop();
  });

  const sql = (text: string): Promise<unknown> => (dataSources[0] as DataSource).query(text);

  it('fifty at once have one effect, also on an expired record and on an abandoned lease', async () => {
    expectOneEffect(await fiftyAtOnce(apps, '/quick', 'pg'));

    runs = 0;
    await sql('UPDATE idempotency_record SET expires_at = 1');
    expectOneEffect(await fiftyAtOnce(apps, '/quick', 'pg'));

    runs = 0;
    await sql(
      'UPDATE idempotency_record SET state = 0, lease_until = 1, expires_at = NULL, result = NULL',
    );
    expectOneEffect(await fiftyAtOnce(apps, '/quick', 'pg'));
  }, 30_000);

  it('a handler slower than its lease keeps it', async () => {
    const [one, other] = apps as [TestApp, TestApp];
    const request = { path: '/slower-than-lease', key: 'slow', body: {} };
    const first = send(one, request);
    await gate.reached;
    const giveUpAt = performance.now() + 600;
    while (performance.now() < giveUpAt) {
      expect((await send(other, request)).status).toBe(409);
    }
    gate.open();
    expect((await first).json()).toEqual({ run: 1, attempt: 1 });
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    expect((await send(other, request)).text).toBe((await first).text);
    expect(runs).toBe(1);
  });
});
