import 'reflect-metadata';
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Body, Controller, Get, Module, Post, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { metrics, trace } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { Redis } from 'ioredis';
import { Idempotent, IdempotencyModule } from 'nestjs-idempotency';
import { idempotentFetch } from 'nestjs-idempotency/client';
import { IdempotencyDashboardModule } from 'nestjs-idempotency/dashboard';
import { documentIdempotency } from 'nestjs-idempotency/openapi';
import { redisStore } from 'nestjs-idempotency/redis';
import { openTelemetry } from 'nestjs-idempotency/telemetry';
import { IdempotencyHealthIndicator } from 'nestjs-idempotency/terminus';
import { duplicateStorm, expectEffectOnce } from 'nestjs-idempotency/testing';
import { Doings, newName, redisUrl } from './support.js';

const spans = new InMemorySpanExporter();
const reader = new PeriodicExportingMetricReader({
  exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
  exportIntervalMillis: 2 ** 31 - 1,
});

describe('Nest 11, with the sub-paths', () => {
  const doings = new Doings();
  const client = new Redis(redisUrl);
  let app: INestApplication;
  let url: string;

  before(async () => {
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
    const spanProcessors = [new SimpleSpanProcessor(spans)];
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }));

    @Controller()
    class Shop {
      constructor(
        private readonly health: HealthCheckService,
        private readonly idempotency: IdempotencyHealthIndicator,
      ) {}

      @Post('orders')
      @Idempotent({ onConcurrent: 'wait' })
      order(@Body() { order }: { order: string }): object {
        return { order, run: doings.did(`ordered ${order}`) };
      }

      @Get('health')
      @HealthCheck()
      check() {
        return this.health.check([() => this.idempotency.check('idempotency')]);
      }
    }

    class Allow {
      canActivate(): boolean {
        return true;
      }
    }

    @Module({
      imports: [
        TerminusModule,
        IdempotencyModule.forRoot({
          store: redisStore({ client, prefix: newName() }),
          telemetry: openTelemetry({ recordCounts: true }),
        }),
        IdempotencyDashboardModule.forRootAsync({
          useFactory: () => ({ path: '/ops/keys' }),
          guards: [Allow],
        }),
      ],
      controllers: [Shop],
      providers: [IdempotencyHealthIndicator],
    })
    class App {}

    app = await NestFactory.create(App, { logger: false });
    const create = () => SwaggerModule.createDocument(app, new DocumentBuilder().build());
    SwaggerModule.setup('docs', app, () => documentIdempotency(app, create));
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  after(async () => {
    await app?.close();
    await client.quit();
    await reader.shutdown();
  });

  const json = async (path: string, headers = {}): Promise<any> =>
    (await fetch(url + path, { headers })).json();
  const place = (order: string) =>
    idempotentFetch(
      `${url}/orders`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ order }),
      },
      { key: `key-${order}` },
    );

  it('has one effect of a storm from the client, with its records in Redis', async () => {
    const count = () => doings.times('ordered 1');
    const storm = await expectEffectOnce(count, () => duplicateStorm(10, () => place('1')));
    assert.equal(storm.executed.length, 1);
    assert.equal(storm.replayed.length, 9);
    for (const answer of storm.answers) {
      assert.deepEqual(await answer.json(), { order: '1', run: 1 });
    }
  });

  it('describes the route in the document', async () => {
    const { paths } = await json('/docs-json');
    const { parameters, responses } = paths['/orders'].post;
    assert.deepEqual(
      parameters.map(({ name }: { name: string }) => name),
      ['Idempotency-Key'],
    );
    assert.ok(responses['422'].content['application/problem+json']);
  });

  it('is healthy', async () => {
    const { status, info } = await json('/health');
    assert.equal(status, 'ok');
    assert.deepEqual(info.idempotency, { status: 'up', uncertain: 0, parked: 0, expired: 0 });
  });

  it('tells spans and metrics', async () => {
    await place('2');
    const names = spans.getFinishedSpans().map(({ name }) => name);
    assert.ok(names.includes('idempotency Shop.order'), names.join());
    const { resourceMetrics } = await reader.collect();
    const told = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
    const points = (name: string) =>
      told.find(({ descriptor }) => descriptor.name === name)?.dataPoints.length;
    assert.ok(points('idempotency.operations'));
    assert.equal(points('idempotency.records'), 3);
  });

  it('serves the dashboard where its factory says', async () => {
    const page = await fetch(`${url}/ops/keys`);
    assert.match(await page.text(), /keys\/files\/dashboard\.js/);
    const headers = { 'x-idempotency-dashboard': '1' };
    const { counts } = await json('/ops/keys/api/overview', headers);
    assert.equal(counts.completed, doings.runs.length);
  });
});
