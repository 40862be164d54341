/** What docs/migrating.md promises of its settings: clients of the old library see what they saw. */
import 'reflect-metadata';
import {
  Body,
  Controller,
  HttpException,
  Logger,
  Post,
  type DynamicModule,
  type Type,
} from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Idempotent, IdempotencyModule } from 'nestjs-idempotency';
import { duplicateStorm } from 'nestjs-idempotency/testing';
import { examples, type Examples } from '../support/examples.js';
import { send, startApp, type TestApp } from '../support/http.js';

let runs = 0;

@Controller('tickets')
class TicketsController {
  @Post()
  @Idempotent()
  draw(@Body() { status }: { status: number }) {
    runs += 1;
    if (status >= 400) throw new HttpException(`no ${runs}`, status);
    return { number: runs };
  }
}

let page: Examples;
let app: TestApp;

beforeAll(async () => {
  Logger.overrideLogger(false);
  page = await examples('docs/migrating.md');
});
afterAll(() => page.remove());
beforeEach(() => {
  runs = 0;
});
afterEach(() => app.close());

async function start(idempotency: DynamicModule, controller: Type = TicketsController) {
  app = await startApp('express', {
    imports: [
      TypeOrmModule.forRoot({ type: 'better-sqlite3', database: ':memory:', synchronize: true }),
      idempotency,
    ],
    controllers: [controller],
  });
}

/** Sends a request twice: both statuses, and whether the second was a replay of the first. */
async function twice(status: number, key?: string): Promise<[number, number, boolean]> {
  const draw = () => send(app, { path: '/tickets', key, body: { status } });
  const first = await draw();
  const second = await draw();
  const isReplay = second.header('idempotent-replayed') === 'true';
  if (isReplay) expect(second.text).toBe(first.text);
  return [first.status, second.status, isReplay];
}

it.each([
  ['like-nestjs.ts', false],
  ['like-node-idempotency.ts', true],
])('%s', async (file, isServerErrorStored) => {
  const { idempotency } = await page.load<{ idempotency: DynamicModule }>(file);
  await start(idempotency);
  expect(await twice(201)).toEqual([201, 201, false]);
  expect(await twice(201, 'done')).toEqual([201, 201, true]);
  expect(await twice(409, 'refused')).toEqual([409, 409, true]);
  expect(await twice(503, 'failed')).toEqual([503, 503, isServerErrorStored]);
  expect(runs).toBe(isServerErrorStored ? 5 : 6);
});

it('orders.ts: without the interceptor of their own, and clients that send no key yet', async () => {
  const { OrdersController } = await page.load<{ OrdersController: Type }>('orders.ts');
  await start(IdempotencyModule.forRoot(), OrdersController);
  const order = { path: '/orders', body: { sku: 'tea' } };
  expect((await send(app, order)).status).toBe(201);
  const storm = await duplicateStorm(5, () => send(app, { ...order, key: 'k-1' }));
  const executed = storm.answers.filter(
    ({ status, header }) => status === 201 && header('idempotent-replayed') === undefined,
  );
  expect([executed.length, storm.failed]).toEqual([1, []]);
  const again = await send(app, { ...order, key: 'k-1' });
  expect(again.header('idempotent-replayed')).toBe('true');
});
