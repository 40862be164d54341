import { randomUUID } from 'node:crypto';
import { Module } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import type { DataSource } from 'typeorm';
import { IdempotencyModule, IdempotencyService } from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import { derivedKey, recordId } from '../../src/engine/identity.js';
import { createTestDatabase, availableDialects, type TestDatabase } from '../support/databases.js';
import { eventually, send, type RawResponse } from '../support/http.js';
import { createEffects, effectsOf, startShop, type Shop } from '../support/shop.js';

const LEASE_MS = 1_000;
const dialects = availableDialects().filter((dialect) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(dialect),
);

interface Payment {
  readonly path: string;
  readonly key: string;
  readonly body: { readonly until: 'declared' | 'paid'; readonly declares: boolean };
}

/** One doomed process holds all of these when it is killed; what becomes of each is seen in another one. */
const doomed = {
  declared: payment('', { until: 'declared', declares: true }),
  paid: payment('', { until: 'paid', declares: true }),
  'resolved as absent': payment('', { until: 'declared', declares: true }),
  'resolved with a response': payment('', { until: 'paid', declares: true }),
  'resolved as done': payment('', { until: 'paid', declares: true }),
  undeclared: payment('', { until: 'paid', declares: false }),
  rerun: payment('/rerun', { until: 'paid', declares: true }),
  blocked: payment('/block', { until: 'paid', declares: false }),
  'asked, paid': payment('/ask', { until: 'paid', declares: false }),
  'asked, not paid': payment('/ask', { until: 'declared', declares: true }),
  'asked, unknown': payment('/ask', { until: 'paid', declares: false }, 'unknown'),
} satisfies Record<string, Payment>;

function payment(path: string, body: Payment['body'], suffix = ''): Payment {
  return { path: `/payments${path}`, key: `${randomUUID()} ${suffix}`.trim(), body };
}

describe.each(dialects)('uncertain outcomes on %s', (dialect) => {
  let database: TestDatabase;
  let observer: DataSource;
  let operator: TestingModule;
  let service: IdempotencyService;
  let other: Shop;

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    observer = await database.open({ synchronize: true });
    @Module({
      imports: [
        IdempotencyModule.forRoot({
          store: typeOrmStore({ dataSource: observer }),
          cleanup: false,
          ttl: '1h',
        }),
      ],
    })
    class OperatorModule {}
    operator = await Test.createTestingModule({ imports: [OperatorModule] }).compile();
    await operator.init();
    service = operator.get(IdempotencyService);
    await createEffects(observer);

    const [first, second] = await Promise.all([start(), start()]);
    other = second;
    const payments = Object.values(doomed);
    const lost: Promise<unknown>[] = [];
    for (const each of payments) {
      const effect = first.nextEffect();
      lost.push(send(first, each).catch((error: Error) => error.message));
      await effect;
    }
    expect(await service.list({ state: 'in-progress' })).toHaveLength(payments.length);
    first.kill('SIGKILL');
    for (const answer of await Promise.all(lost)) {
      expect(answer).toContain('ended before a response');
    }
    await eventually(
      async () => (await service.list({ state: 'in-progress' })).length === 0,
      'every lease to be over',
    );
  });
  afterAll(async () => {
    other.kill('SIGKILL');
    await other.exited;
    await operator.close();
    await database.drop();
  });

  const start = (): Promise<Shop> =>
    startShop(
      {
        platform: 'express',
        dataSource: database.options,
        idempotency: { lease: LEASE_MS, cleanup: false },
      },
      'steps',
    );
  const retry = (which: keyof typeof doomed): Promise<RawResponse> => send(other, doomed[which]);
  const paid = async (which: keyof typeof doomed): Promise<string[]> => {
    const { key } = doomed[which];
    const id = recordId({ namespace: '', scope: '', operation: 'http', key });
    return effectsOf(observer, derivedKey(id, 'pay'));
  };
  const uncertainKeys = async (): Promise<(string | null)[]> =>
    (await service.list({ state: 'uncertain' })).map(({ key }) => key);
  const expectUncertain = (answer: RawResponse): void => {
    expect(answer.status).toBe(409);
    expect(answer.json()).toMatchObject({
      code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN',
      retryable: false,
    });
  };
  const expectReplay = (answer: RawResponse, status: number, text: string): void => {
    expect([answer.status, answer.text]).toEqual([status, text]);
    expect(answer.header('idempotent-replayed')).toBe('true');
  };

  it('lists every attempt that died past its point of no return', async () => {
    const dead = Object.entries(doomed).filter(([which]) => which !== 'undeclared');
    expect(new Set(await uncertainKeys())).toEqual(new Set(dead.map(([, { key }]) => key)));
  });

  it.each(['declared', 'paid', 'blocked'] as const)(
    'kill -9 (%s): a retry is told so, and nothing runs again',
    async (which) => {
      const effects = await paid(which);
      expectUncertain(await retry(which));
      expectUncertain(await retry(which));
      expect(await paid(which)).toEqual(effects);
      expect(effects).toHaveLength(which === 'declared' ? 0 : 1);
      expect(await uncertainKeys()).toContain(doomed[which].key);
    },
  );

  it('kill -9 without effectStarted(): a retry runs', async () => {
    const answer = await retry('undeclared');
    expect(answer.json()).toMatchObject({ attempt: 2 });
    expect(await paid('undeclared')).toHaveLength(2);
  });

  it("kill -9 with 'rerun': a retry runs", async () => {
    const answer = await retry('rerun');
    expect(answer.status).toBe(201);
    expect(answer.json()).toMatchObject({ attempt: 2 });
    expect(await paid('rerun')).toHaveLength(2);
    expectReplay(await retry('rerun'), 201, answer.text);
  });

  it('resolve() as absent lets a retry run', async () => {
    const { key } = doomed['resolved as absent'];
    expect(await service.resolve({ key }, 'absent')).toBe(true);
    expect(await service.resolve({ key }, 'absent')).toBe(false);
    const answer = await retry('resolved as absent');
    expect(answer.json()).toMatchObject({ attempt: 2 });
    expect(await paid('resolved as absent')).toHaveLength(1);
    expectReplay(await retry('resolved as absent'), 201, answer.text);
  });

  it('resolve() with a response gives it to every retry', async () => {
    const which = 'resolved with a response';
    const [found] = await paid(which);
    const response = { status: 201, headers: { 'X-Found': 'yes' }, body: { payment: found } };
    expect(await service.resolve({ key: doomed[which].key }, { response })).toBe(true);
    for (const answer of [await retry(which), await retry(which)]) {
      expectReplay(answer, 201, JSON.stringify({ payment: found }));
      expect(answer.header('content-type')).toBe('application/json; charset=utf-8');
      expect(answer.header('x-found')).toBe('yes');
    }
    expect(await paid(which)).toEqual([found]);
  });

  it('resolve() as done says so, and nothing runs again', async () => {
    const which = 'resolved as done';
    expect(await service.resolve({ key: doomed[which].key }, 'done')).toBe(true);
    const answer = await retry(which);
    expect(answer.status).toBe(409);
    expect(answer.json()).toMatchObject({ code: 'IDEMPOTENCY_RESULT_UNAVAILABLE' });
    expect(await paid(which)).toHaveLength(1);
  });

  it('a resolver that finds the effect gives its answer, once and for all', async () => {
    const [found] = await paid('asked, paid');
    const text = JSON.stringify({ payment: found });
    const both = await Promise.all([retry('asked, paid'), retry('asked, paid')]);
    both.forEach((answer) => expectReplay(answer, 201, text));
    expect(await paid('asked, paid')).toEqual([found]);
  });

  it('a resolver that finds nothing lets the retry run', async () => {
    const answer = await retry('asked, not paid');
    expect(answer.json()).toMatchObject({ attempt: 2 });
    expect(await paid('asked, not paid')).toHaveLength(1);
    expectReplay(await retry('asked, not paid'), 201, answer.text);
  });

  it('a resolver that does not know leaves it as it is', async () => {
    expectUncertain(await retry('asked, unknown'));
    expect(await paid('asked, unknown')).toHaveLength(1);
    expect(await uncertainKeys()).toContain(doomed['asked, unknown'].key);
  });
});
