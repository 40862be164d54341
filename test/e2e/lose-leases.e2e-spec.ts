import 'reflect-metadata';
import { Controller, Logger, Post } from '@nestjs/common';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyContext,
} from 'nestjs-idempotency';
import { expectEffectOnce, loseLeases } from 'nestjs-idempotency/testing';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { send, startApp, type RawResponse, type TestApp } from '../support/http.js';
import { EntryEntity } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

/** What a handler does until it is let through. */
let gate: TestGate | undefined;
let dataSource: DataSource;
let attempts: IdempotencyContext[] = [];
let key = '';
let keys = 0;

beforeEach(() => {
  gate = new TestGate();
  attempts = [];
  key = `key-${(keys += 1)}`;
});

/** Holds the first attempt up. */
async function work(once: IdempotencyContext): Promise<{ attempt: number }> {
  attempts.push(once);
  if (attempts.length === 1) await gate?.pass();
  return { attempt: attempts.length };
}

@Controller()
class Orders {
  @Post('leased')
  @Idempotent()
  leased(@CurrentIdempotency() once: IdempotencyContext) {
    return work(once);
  }

  @Post('step')
  @Idempotent()
  async step(@CurrentIdempotency() once: IdempotencyContext) {
    await work(once);
    return once.step('after', () => ({ stepped: true }));
  }

  @Post('effect')
  @Idempotent()
  async effect(@CurrentIdempotency() once: IdempotencyContext) {
    await once.effectStarted();
    return work(once);
  }
}

@Controller()
class TransactionalOrders {
  @Post('transactional')
  @Idempotent({ mode: 'transactional' })
  async transactional(@CurrentIdempotency() once: IdempotencyContext) {
    await dataSource.getRepository(EntryEntity).insert({ name: `${attempts.length}` });
    return work(once);
  }
}

const stores = ['memory', 'sqlite-file', 'postgres'] as const;

describe.each(stores)('loseLeases over %s', (kind) => {
  let database: TestDatabase | undefined;
  let app: TestApp;

  beforeAll(async () => {
    if (kind !== 'memory') {
      database = await createTestDatabase(kind satisfies TestDialect);
      dataSource = await database.open({ synchronize: true, entities: [EntryEntity] });
    }
    const definition = kind === 'memory' ? memoryStore() : typeOrmStore({ dataSource });
    app = await startApp('express', {
      imports: [IdempotencyModule.forRoot({ store: definition, lease: '10m' })],
      controllers: kind === 'memory' ? [Orders] : [Orders, TransactionalOrders],
    });
  });
  afterAll(async () => {
    await app.close();
    await database?.drop();
  });

  const post = (path: string): Promise<RawResponse> => send(app, { path: `/${path}`, key });

  it('tells the handler, and its result gives way to that of the next attempt', async () => {
    const first = post('leased');
    await gate?.reached;
    expect(attempts[0]?.signal.aborted).toBe(false);
    await loseLeases(app.app);
    expect(attempts[0]?.signal.aborted).toBe(true);

    const second = await post('leased');
    expect([second.status, second.header('idempotent-replayed')]).toEqual([201, undefined]);
    expect(attempts[1]?.attempt).toBe(2);
    gate?.open();
    const late = await first;
    expect([late.text, late.header('idempotent-replayed')]).toEqual([second.text, 'true']);
    expect((await post('leased')).text).toBe(second.text);
  });

  it('an owner whom nobody followed records its own result', async () => {
    const first = post('leased');
    await gate?.reached;
    await loseLeases(app.app);
    gate?.open();
    const { text } = await first;
    const again = await post('leased');
    expect([again.text, again.header('idempotent-replayed')]).toEqual([text, 'true']);
    expect(attempts).toHaveLength(1);
  });

  it('no step begins afterwards', async () => {
    const first = post('step');
    await gate?.reached;
    await loseLeases(app.app);
    gate?.open();
    expect((await first).json()).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    expect((await post('step')).json()).toEqual({ stepped: true });
  });

  it('an effect that had begun is uncertain', async () => {
    const first = post('effect');
    await gate?.reached;
    await loseLeases(app.app);
    expect((await post('effect')).json()).toMatchObject({ code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' });
    gate?.open();
    await first;
    expect(attempts).toHaveLength(1);
  });

  it('loses those of a batch', async () => {
    const service = app.app.get(IdempotencyService);
    const runs: number[] = [];
    const batch = () =>
      service.executeBatch({ items: [1, 2], key: (item) => `${key}-${item}` }, async (fresh) => {
        runs.push(fresh.length);
        if (runs.length === 1) await gate?.pass();
        return fresh.map(() => runs.length);
      });
    const first = batch();
    await gate?.reached;
    await loseLeases(app.app);
    expect(await batch()).toEqual([2, 2]);
    gate?.open();
    expect(await first).toEqual([2, 2]);
    expect(runs).toEqual([2, 2]);
  });

  it('says when there is nothing to lose', async () => {
    await expect(loseLeases(app.app)).rejects.toThrow(
      'Call loseLeases() while a handler is at work',
    );
  });

  it('rolls a transactional operation back', async () => {
    if (kind === 'memory') return;
    const rows = dataSource.getRepository(EntryEntity);
    const place = () => send(app, { path: '/transactional', key });
    await expectEffectOnce(
      () => rows.count(),
      async () => {
        const first = place();
        await gate?.reached;
        await loseLeases(app.app);
        expect(attempts[0]?.signal.aborted).toBe(true);
        expect((await first).json()).toMatchObject({ code: 'IDEMPOTENCY_TRANSACTION_BROKEN' });
        expect(await rows.count()).toBe(0);
        expect((await place()).status).toBe(201);
        gate?.open();
      },
    );
  });
});
