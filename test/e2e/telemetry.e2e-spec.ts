import { jest } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { Body, Controller, Post } from '@nestjs/common';
import { context, metrics, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  DataPointType,
  InMemoryMetricExporter,
  AggregationTemporality,
  MeterProvider,
  PeriodicExportingMetricReader,
  type MetricData,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base';
import {
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyModuleOptions,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { openTelemetry } from 'nestjs-idempotency/telemetry';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { createTestDatabase } from '../support/databases.js';
import { ProbeStore, fails } from '../support/engine/probe-store.js';
import { TestGate } from '../support/gate.js';
import { eventually, send, startApp, type TestApp } from '../support/http.js';

const CANARY = 'canary-7f3a';

// made before the SDK is started, as the decorator of a root module may be
const telemetry = openTelemetry();
const spans = new InMemorySpanExporter();
const reader = new PeriodicExportingMetricReader({
  exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
  exportIntervalMillis: 2 ** 31 - 1,
});

let gate = new TestGate();

@Controller('work')
class WorkController {
  @Post('done')
  @Idempotent()
  done(@Body() body: unknown) {
    return trace.getTracer('application').startActiveSpan('charge', (span) => {
      span.end();
      return { body };
    });
  }

  @Post('fails')
  @Idempotent()
  fails() {
    throw new Error(CANARY);
  }

  @Post('waits')
  @Idempotent({ onConcurrent: 'wait' })
  async waits() {
    await gate.pass();
    return {};
  }
}

const started: TestApp[] = [];
const closing: (() => Promise<void>)[] = [];

async function start(
  store: IdempotencyStore,
  options: IdempotencyModuleOptions = {},
): Promise<TestApp> {
  const app = await startApp('express', {
    imports: [
      IdempotencyModule.forRoot({
        store,
        telemetry,
        lease: '300ms',
        storeTimeout: '250ms',
        cleanup: false,
        startupReport: false,
        scope: () => `${CANARY}-scope`,
        ...options,
      }),
    ],
    controllers: [WorkController],
  });
  started.push(app);
  return app;
}

const post = (app: TestApp, path: string, key = 'one', body: object = {}) =>
  send(app, { path: `/work/${path}`, key: `${CANARY}-${key}`, body: { ...body, note: CANARY } });

const runs = (): ReadableSpan[] =>
  spans.getFinishedSpans().filter(({ name }) => name.startsWith('idempotency '));
const told = () =>
  runs().map(({ attributes, status }) => ({
    outcome: attributes['idempotency.outcome'],
    code: attributes['idempotency.code'],
    failed: status.code === SpanStatusCode.ERROR,
  }));

async function collected(): Promise<MetricData[]> {
  const { resourceMetrics } = await reader.collect();
  return resourceMetrics.scopeMetrics
    .filter(({ scope }) => scope.name === 'nestjs-idempotency')
    .flatMap((one) => one.metrics);
}

/** The sum of the points of a counter, or the count of those of a histogram, with these attributes. */
async function counted(name: string, attributes: object = {}): Promise<number> {
  const found = (await collected()).find(({ descriptor }) => descriptor.name === name);
  return (found?.dataPoints ?? [])
    .filter((point) =>
      Object.entries(attributes).every(([key, value]) => point.attributes[key] === value),
    )
    .map(({ value }) => (typeof value === 'number' ? value : value.count))
    .reduce((sum, value) => sum + value, 0);
}

/** How much a counter rises. */
async function rise(
  name: string,
  attributes: object,
  action: () => Promise<unknown>,
): Promise<number> {
  const before = await counted(name, attributes);
  await action();
  return (await counted(name, attributes)) - before;
}

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }),
  );
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
});
afterAll(() => reader.shutdown());
beforeEach(() => {
  spans.reset();
  gate = new TestGate();
});
afterEach(async () => {
  gate.open();
  await Promise.all(started.splice(0).map((app) => app.close()));
  for (const close of closing.splice(0)) await close();
});

const KEY = Buffer.alloc(32, 7).toString('base64');

describe.each<[string, IdempotencyModuleOptions]>([
  ['as it is', {}],
  ['with encrypted records', { encryption: { current: 'k1', keys: { k1: KEY } } }],
  ['with records in memory', { replayCache: true }],
])('a replay, %s', (_, options) => {
  it('links to the run that was recorded, in whichever process', async () => {
    const store = memoryStore();
    const [here, there] = [await start(store, options), await start(store, options)];
    await post(here, 'done');
    expect((await post(there, 'done')).header('Idempotent-Replayed')).toBe('true');
    expect((await post(here, 'done')).header('Idempotent-Replayed')).toBe('true');
    const [first, ...replays] = runs();
    const original = first!.spanContext();
    expect(first!.links).toEqual([]);
    expect(replays).toHaveLength(2);
    for (const { links, attributes } of replays) {
      expect(attributes['idempotency.outcome']).toBe('replayed');
      expect(links.map(({ context: { traceId, spanId } }) => ({ traceId, spanId }))).toEqual([
        { traceId: original.traceId, spanId: original.spanId },
      ]);
    }
  });
});

describe('spans', () => {
  it('of a transactional operation are linked too, and its store calls measured', async () => {
    const database = await createTestDatabase('sqlite');
    closing.push(() => database.drop());
    const store = new TypeOrmStore(await database.open({ synchronize: true }));
    const app = await start(store, { mode: 'transactional' });
    const commits = await rise(
      'idempotency.store.duration',
      { 'idempotency.store': 'sqlite', 'idempotency.store.call': 'commit' },
      async () => {
        await post(app, 'done');
        await post(app, 'done');
      },
    );
    expect(commits).toBe(1);
    const [first, second] = runs();
    expect(second!.links[0]!.context.spanId).toBe(first!.spanContext().spanId);
  });

  it('are around what the handler does', async () => {
    await post(await start(memoryStore()), 'done');
    const [charge, run] = spans.getFinishedSpans();
    expect([charge!.name, run!.name]).toEqual(['charge', 'idempotency WorkController.done']);
    expect(charge!.parentSpanContext?.spanId).toBe(run!.spanContext().spanId);
    expect(run!.attributes).toMatchObject({
      'idempotency.handler': 'WorkController.done',
      'idempotency.outcome': 'executed',
      'idempotency.attempt': 1,
    });
  });

  it('tell how a run ended', async () => {
    const store = new ProbeStore(memoryStore());
    const app = await start(store);
    await post(app, 'done');
    await post(app, 'done', 'one', { other: true });
    await post(app, 'fails', 'two');
    store.breakDown(fails, 'claim');
    await post(app, 'done', 'three');
    expect(told()).toEqual([
      { outcome: 'executed', code: undefined, failed: false },
      { outcome: 'rejected', code: 'IDEMPOTENCY_KEY_REUSED', failed: false },
      { outcome: 'released', code: undefined, failed: false },
      { outcome: 'rejected', code: 'IDEMPOTENCY_STORE_UNAVAILABLE', failed: true },
    ]);
  });

  it('tell of every other end', async () => {
    const store = new ProbeStore(memoryStore());
    const service = (await start(store)).app.get(IdempotencyService);
    const lose = () => Promise.reject(new Error(CANARY));
    const settled = Promise.allSettled([
      service.execute({ key: 'a', attempts: { max: 1 } }, lose),
      service.execute({ key: 'b' }, async (once) => {
        await once.effectStarted();
        await lose();
      }),
      // a function cannot be kept
      service.execute({ key: 'c' }, () => () => undefined),
    ]);
    await settled;
    store.breakDown(fails, 'claim');
    await service.execute({ key: 'd', onStoreFailure: 'open' }, () => 1);
    const outcomes = told().map(({ outcome }) => outcome as string);
    expect(outcomes.toSorted()).toEqual(['executed', 'parked', 'uncertain', 'unprotected']);
  });

  it('of a batch link to every run that is replayed in it', async () => {
    const app = await start(memoryStore());
    const batch = (items: string[]) =>
      app.app
        .get(IdempotencyService)
        .executeBatch({ items, key: (item: string) => item, operation: 'sums' }, (fresh) =>
          Promise.resolve(fresh.map(({ item }) => item)),
        );
    await batch(['a', 'b']);
    await batch(['c']);
    await batch(['a', 'b', 'c', 'd']);
    const [first, second, third] = runs();
    const [one, two] = [first!.spanContext().spanId, second!.spanContext().spanId];
    expect(third!.links.map((link) => link.context.spanId)).toEqual([one, one, two]);
  });

  it('are the same as none to a record that was written without them', async () => {
    const store = memoryStore();
    const plain = await start(store, { telemetry: undefined });
    await post(plain, 'done');
    const watched = await start(store);
    expect((await post(watched, 'done')).header('Idempotent-Replayed')).toBe('true');
    expect(runs().map(({ links }) => links)).toEqual([[]]);
    await post(watched, 'done', 'two');
    expect((await post(plain, 'done', 'two')).header('Idempotent-Replayed')).toBe('true');
  });
});

describe('metrics', () => {
  const handler = { 'idempotency.handler': 'WorkController.waits' };

  it('count outcomes by handler and code', async () => {
    const app = await start(memoryStore());
    const of = (outcome: string, more: object = {}) => ({
      'idempotency.handler': 'WorkController.done',
      'idempotency.outcome': outcome,
      ...more,
    });
    const name = 'idempotency.operations';
    expect(await rise(name, of('executed'), () => post(app, 'done'))).toBe(1);
    expect(await rise(name, of('replayed'), () => post(app, 'done'))).toBe(1);
    const reused = of('rejected', { 'idempotency.code': 'IDEMPOTENCY_KEY_REUSED' });
    expect(await rise(name, reused, () => post(app, 'done', 'one', { other: 1 }))).toBe(1);
  });

  it('measure how long a duplicate waits', async () => {
    const app = await start(memoryStore());
    const waits = await rise('idempotency.wait.duration', handler, async () => {
      const first = post(app, 'waits');
      await gate.reached;
      const second = post(app, 'waits');
      setTimeout(() => gate.open(), 50);
      expect([(await first).status, (await second).status]).toEqual([201, 201]);
    });
    expect(waits).toBe(1);
  });

  it('measure how long a duplicate waits for a transaction', async () => {
    const database = await createTestDatabase('postgres');
    closing.push(() => database.drop());
    const store = new TypeOrmStore(await database.open({ synchronize: true }));
    const app = await start(store, { mode: 'transactional', storeTimeout: '5s', lease: '30s' });
    const waits = await rise('idempotency.wait.duration', handler, async () => {
      const first = post(app, 'waits');
      await gate.reached;
      const second = post(app, 'waits');
      setTimeout(() => gate.open(), 50);
      expect([(await first).status, (await second).status]).toEqual([201, 201]);
    });
    expect(waits).toBe(1);
  });

  it('count leases that are lost, and attempts that are taken over', async () => {
    const store = new ProbeStore(memoryStore());
    const app = await start(store);
    let first: Promise<unknown> = Promise.resolve();
    const losses = await rise('idempotency.lease.losses', handler, async () => {
      store.breakDown(fails, 'renew');
      first = post(app, 'waits');
      await gate.reached;
      await eventually(
        async () => (await counted('idempotency.lease.losses', handler)) > 0,
        'a loss',
      );
    });
    expect(losses).toBe(1);
    const takeOvers = await rise('idempotency.takeovers', handler, async () => {
      const second = post(app, 'waits');
      await eventually(() => store.count('claim') > 1, 'a second claim');
      gate.open();
      await second;
    });
    expect(takeOvers).toBe(1);
    await first;
  });

  it('count outcomes that could not be recorded, and calls of the store that failed', async () => {
    const store = new ProbeStore(memoryStore());
    const app = await start(store);
    const failed = { 'idempotency.store.call': 'complete', 'error.type': 'Error' };
    const failures = await rise('idempotency.recording.failures', {}, async () => {
      const calls = await rise('idempotency.store.duration', failed, async () => {
        store.plan('complete', fails, fails);
        await post(app, 'done');
      });
      expect(calls).toBeGreaterThan(0);
    });
    expect(failures).toBe(1);
  });

  it('count what is cleaned up', async () => {
    let now = Date.now();
    const store = memoryStore({ now: () => now });
    store.maintain = async () => ({ deleted: 5 });
    const app = await start(store, { ttl: '1s' });
    await post(app, 'done');
    now += 1_000;
    const deleted = await rise('idempotency.cleanup.deleted', {}, () =>
      app.app.get(IdempotencyService).deleteExpired(),
    );
    expect(deleted).toBe(6);
    for (const call of ['deleteExpired', 'maintain']) {
      expect(
        await counted('idempotency.store.duration', { 'idempotency.store.call': call }),
      ).toBeGreaterThan(0);
    }
  });

  it('and spans never tell a key, a scope or a body', async () => {
    const app = await start(memoryStore());
    await post(app, 'done');
    await post(app, 'fails', 'two');
    const all = spans.getFinishedSpans().map(({ name, attributes, events, links, status }) => ({
      name,
      attributes,
      events,
      links,
      status,
    }));
    expect(all.length).toBeGreaterThan(0);
    expect(JSON.stringify([all, await collected()])).not.toContain(CANARY);
  });

  describe('of the records that wait for somebody', () => {
    const waiting = { 'idempotency.state': 'uncertain' };
    const inState = (state: string) =>
      counted('idempotency.records', { 'idempotency.state': state });
    const leaveUncertain = (app: TestApp, key: string) =>
      app.app
        .get(IdempotencyService)
        .execute({ key, onUnknownOutcome: 'block' }, async (once) => {
          await once.effectStarted();
          throw new Error('cut');
        })
        .catch(() => undefined);

    it('are counted when it is asked for, and at most once a minute', async () => {
      let now = Date.now();
      const store = new ProbeStore(memoryStore({ now: () => now }));
      const counts = jest.spyOn(store, 'countRecords');
      const app = await start(store, {
        telemetry: openTelemetry({ recordCounts: true }),
        ttl: '1s',
      });
      await post(app, 'done');
      now += 1_000;
      await post(app, 'fails', 'two');
      await leaveUncertain(app, 'three');
      expect(await counted('idempotency.records', waiting)).toBe(1);
      expect([await inState('parked'), await inState('expired')]).toEqual([0, 1]);
      expect(counts).toHaveBeenCalledTimes(3);

      await leaveUncertain(app, 'four');
      expect(await counted('idempotency.records', waiting)).toBe(1);
      expect(counts).toHaveBeenCalledTimes(3);
      const clock = jest.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_001);
      try {
        expect(await counted('idempotency.records', waiting)).toBe(2);
      } finally {
        clock.mockRestore();
      }
      expect(counts).toHaveBeenCalledTimes(6);
    });

    it('are not told while the store does not answer, and what else is told is', async () => {
      const store = new ProbeStore(memoryStore());
      jest.spyOn(store, 'countRecords').mockRejectedValue(new Error('down'));
      const app = await start(store, { telemetry: openTelemetry({ recordCounts: true }) });
      const operations = await rise('idempotency.operations', {}, () => post(app, 'done'));
      expect(operations).toBe(1);
      expect((await reader.collect()).errors).toEqual([]);
      const failed = { 'idempotency.store.call': 'countRecords', 'error.type': 'Error' };
      expect(await counted('idempotency.store.duration', failed)).toBeGreaterThan(0);
    });

    it('cost nothing where nobody asks for them', async () => {
      const store = new ProbeStore(memoryStore());
      const counts = jest.spyOn(store, 'countRecords');
      await post(await start(store), 'done');
      await collected();
      expect(counts).not.toHaveBeenCalled();
    });

    it('are asked for with options that are known', () => {
      const wrong = { recordCount: true } as object;
      expect(() => openTelemetry(wrong)).toThrow(/openTelemetry\(\).*no option 'recordCount'/);
    });
  });

  // last: every metric has been told of
  it('are those of the dashboard, and the dashboard is of all of them', async () => {
    const file = new URL('../../docs/grafana/idempotency.json', import.meta.url);
    const { panels } = JSON.parse(await readFile(file, 'utf8')) as {
      panels: { targets?: { expr: string }[] }[];
    };
    const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    const text = expressions.join(' ');
    // of each name there is one with its unit, and one without
    const unit = '(_seconds)?';
    const both = `${text.replaceAll(unit, '_seconds')} ${text.replaceAll(unit, '')}`;
    const words = new Set(both.match(/\bidempotency_\w+/g));
    const told = await collected();
    const labels = new Set(
      told.flatMap(({ dataPoints }) =>
        dataPoints.flatMap(({ attributes }) => Object.keys(attributes).map(underscored)),
      ),
    );
    const series = told.flatMap(seriesOf);
    const inDashboard = [...words].filter((word) => !labels.has(word));
    expect(inDashboard.filter((word) => !series.includes(word))).toEqual([]);
    const unseen = told.filter((metric) =>
      ['', '_seconds'].some((end) => !namesOf(metric, end).some((one) => words.has(one))),
    );
    expect(unseen.map(({ descriptor }) => descriptor.name)).toEqual([]);
  });
});

/** As the Collector of OpenTelemetry names them, with their unit, and as its Prometheus exporter for Node does, without. */
function seriesOf(metric: MetricData): string[] {
  return ['', '_seconds'].flatMap((end) => namesOf(metric, end));
}

function namesOf({ descriptor, dataPointType }: MetricData, unit: string): string[] {
  const name = underscored(descriptor.name) + (descriptor.unit === 's' ? unit : '');
  return dataPointType === DataPointType.HISTOGRAM
    ? ['_bucket', '_sum', '_count'].map((end) => name + end)
    : [dataPointType === DataPointType.GAUGE ? name : `${name}_total`];
}

function underscored(name: string): string {
  return name.replaceAll('.', '_');
}
