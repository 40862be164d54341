import { randomUUID } from 'node:crypto';
import type { DataSource } from 'typeorm';
import type { Failpoint } from '../../src/engine/failpoints.js';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import { createTestDatabase, availableDialects, type TestDatabase } from '../support/databases.js';
import { eventually, send, untilDone, type RawResponse } from '../support/http.js';
import { createEffects, effectsOf, startShop, withShops, type Shop } from '../support/shop.js';
import type { ShopOptions } from '../support/shop-process.js';

const LEASE_MS = 1_000;
const dialects = availableDialects().filter((dialect) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(dialect),
);

describe.each(dialects)('several processes on one database: %s', (dialect) => {
  let database: TestDatabase;
  let observer: DataSource;
  let store: TypeOrmStore;
  /** Who is asked after somebody else died, slept or was busy. */
  let other: Shop;

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    observer = await database.open({ synchronize: true });
    store = new TypeOrmStore(observer);
    await store.init();
    await createEffects(observer);
    other = await start([], { platform: 'fastify' });
  });

  afterAll(async () => {
    other.kill('SIGKILL');
    await other.exited;
    await database.drop();
  });

  /** Starts an application that ends with the others of its test. */
  const start = async (shops: Shop[], options: Partial<ShopOptions> = {}): Promise<Shop> => {
    const { idempotency, ...rest } = options;
    const shop = await startShop({
      platform: 'express',
      dataSource: database.options,
      idempotency: { lease: LEASE_MS, cleanup: false, ...idempotency },
      ...rest,
    });
    shops.push(shop);
    return shop;
  };

  const order = (shop: Shop, name: string, holdMs?: number): Promise<RawResponse> =>
    send(shop, { path: '/effects', key: `key-${name}`, body: { name, holdMs } });

  const orderUntilDone = async (shop: Shop, name: string, holdMs?: number): Promise<RawResponse> =>
    untilDone(() => order(shop, name, holdMs));

  it.concurrent(
    'fifty at once over three applications have one effect and one answer',
    withShops(async (shops) => {
      const idempotency = { onConcurrent: 'wait', lease: '30s', waitTimeout: '20s' } as const;
      const three = await Promise.all(
        (['express', 'express', 'fastify'] as const).map((platform) =>
          start(shops, { platform, idempotency }),
        ),
      );
      const name = randomUUID();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => order(three[index % 3] as Shop, name, 50)),
      );
      const effects = await effectsOf(observer, name);
      expect(effects).toHaveLength(1);
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
      expect(answers[0]?.json<{ id: string }>().id).toBe(effects[0]);
      expect(answers.filter((answer) => answer.header('idempotent-replayed'))).toHaveLength(49);
    }),
  );

  const everywhere: [diesAt: Failpoint, effectsAfterRetry: number, retryIsReplay: boolean][] = [
    ['claim:before', 1, false],
    ['claim:after', 1, false],
    ['handler:before', 1, false],
    ['handler:after', 2, false],
    ['complete:before', 2, false],
    ['complete:after', 1, true],
    ['respond', 1, true],
  ];
  // every start of a process takes a second or two: the whole row once, its corners on every database
  const corners = ['claim:after', 'handler:after', 'complete:after'];
  const deaths = everywhere.filter(([at]) => dialect === 'postgres' || corners.includes(at));

  for (const [dieAt, count, replays] of deaths) {
    it.concurrent(
      `kill -9 at ${dieAt}: the key is claimable once the lease is over`,
      withShops(async (shops) => {
        const name = randomUUID();
        const doomed = await start(shops, { dieAt });
        await expect(order(doomed, name)).rejects.toThrow('ended before a response');
        await doomed.exited;

        const answer = await orderUntilDone(other, name);
        expect(answer.status).toBe(201);
        expect(answer.header('idempotent-replayed')).toBe(replays ? 'true' : undefined);
        const effects = await effectsOf(observer, name);
        expect(effects).toHaveLength(count);
        expect(effects).toContain(answer.json<{ id: string }>().id);

        const again = await order(other, name);
        expect(again.text).toBe(answer.text);
        expect(again.header('idempotent-replayed')).toBe('true');
        expect(await effectsOf(observer, name)).toHaveLength(count);
      }),
    );
  }

  it.concurrent(
    'while a killed owner may still be alive, a retry is told to wait',
    withShops(async (shops) => {
      const name = randomUUID();
      const doomed = await start(shops, { dieAt: 'handler:before', idempotency: { lease: '20s' } });
      await expect(order(doomed, name)).rejects.toThrow();
      const answer = await order(other, name);
      expect(answer.status).toBe(409);
      expect(answer.json()).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS', retryable: true });
      expect(Number(answer.header('retry-after'))).toBeGreaterThanOrEqual(1);
    }),
  );

  it.concurrent(
    'an owner that slept past its lease answers with the outcome of its successor',
    withShops(async (shops) => {
      const name = randomUUID();
      const sleeper = await start(shops);
      const effect = sleeper.nextEffect();
      const late = order(sleeper, name, 100);
      await effect;
      sleeper.kill('SIGSTOP');
      const answer = await orderUntilDone(other, name, 100);
      sleeper.kill('SIGCONT');
      const zombie = await late;

      expect(answer.status).toBe(201);
      expect(answer.json()).toMatchObject({ attempt: 2 });
      expect(zombie.status).toBe(201);
      expect(zombie.text).toBe(answer.text);
      expect(zombie.header('idempotent-replayed')).toBe('true');
    }),
  );

  it.concurrent(
    'a handler that takes longer than its lease keeps it',
    withShops(async (shops) => {
      const name = randomUUID();
      const slow = await start(shops);
      const holdMs = LEASE_MS * 2.5;
      const effect = slow.nextEffect();
      const first = order(slow, name, holdMs);
      await effect;
      let isDone = false;
      void first.then(() => (isDone = true));
      let refused = 0;
      await eventually(
        async () => {
          const { status } = await order(other, name, holdMs);
          refused += status === 409 ? 1 : 0;
          return isDone;
        },
        'the slow handler to end',
        10_000,
      );
      expect((await first).json()).toMatchObject({ attempt: 1, lost: false });
      expect(refused).toBeGreaterThan(1);
      expect(await effectsOf(observer, name)).toHaveLength(1);
    }),
  );

  it.concurrent(
    'SIGTERM lets a running request end and record its outcome',
    withShops(async (shops) => {
      const name = randomUUID();
      const stopped = await start(shops);
      const effect = stopped.nextEffect();
      const first = order(stopped, name, 300);
      await effect;
      stopped.kill('SIGTERM');
      const answer = await first;
      await stopped.exited;
      expect(answer.status).toBe(201);
      const again = await order(other, name, 300);
      expect(again.text).toBe(answer.text);
      expect(again.header('idempotent-replayed')).toBe('true');
    }),
  );

  it('leaves nothing half-written', async () => {
    const states = (await store.list({ limit: 1_000 })).map(({ state }) => state);
    expect(states.filter((state) => state !== 'completed' && state !== 'in-progress')).toEqual([]);
  });
});
