import { randomUUID } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import { createTestDatabase, availableDialects, type TestDatabase } from '../support/databases.js';
import { send, untilDone, type RawResponse } from '../support/http.js';
import { createEffects, effectsOf, startShop, withShops, type Shop } from '../support/shop.js';
import type { ShopOptions } from '../support/shop-process.js';

const LEASE_MS = 1_000;
const dialects = availableDialects().filter((dialect) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(dialect),
);

interface Placed {
  readonly year: number;
  readonly charge: { readonly id: string; readonly key: string };
  readonly attempt: number;
}

describe.each(dialects)('steps on %s', (dialect) => {
  let database: TestDatabase;
  let observer: DataSource;
  /** Who is asked after somebody else died or slept. */
  let other: Shop;

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    observer = await database.open({ synchronize: true });
    await new TypeOrmStore(observer).init();
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
    const shop = await startShop(
      {
        platform: 'express',
        dataSource: database.options,
        idempotency: { lease: LEASE_MS, cleanup: false },
        ...options,
      },
      'steps',
    );
    shops.push(shop);
    return shop;
  };

  const order = (shop: Shop, body: { name: string }): Promise<RawResponse> =>
    send(shop, { path: '/orders', key: `key-${body.name}`, body });

  const orderUntilDone = async (shop: Shop, body: { name: string }): Promise<RawResponse> =>
    untilDone(() => order(shop, body));

  const counted = async (name: string): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {};
    for (const what of ['reserve', 'charge', 'mail']) {
      counts[what] = (await effectsOf(observer, `${name} ${what}`)).length;
    }
    return counts;
  };

  it.concurrent(
    'kill -9 between two steps: the retry resumes behind the finished one',
    withShops(async (shops) => {
      const body = { name: randomUUID(), holdAfter: 'charge' };
      const doomed = await start(shops);
      const effect = doomed.nextEffect();
      const lost = order(doomed, body).catch((error: Error) => error.message);
      await effect;
      const [charged] = await effectsOf(observer, `${body.name} charge`);
      doomed.kill('SIGKILL');
      expect(await lost).toContain('ended before a response');

      const answer = await orderUntilDone(other, body);
      expect(answer.status).toBe(201);
      const placed = answer.json<Placed>();
      expect(placed).toMatchObject({ year: new Date().getUTCFullYear(), attempt: 2 });
      expect(placed.charge.id).toBe(charged);
      expect(await counted(body.name)).toEqual({ reserve: 1, charge: 1, mail: 1 });
      const again = await order(other, body);
      expect([again.text, again.header('idempotent-replayed')]).toEqual([answer.text, 'true']);
    }),
  );

  const deaths = [
    ['step:after', 1],
    ['step:before', 2],
  ] as const;
  for (const [dieAt, count] of deaths) {
    it.concurrent(
      `kill -9 at ${dieAt}: the step has run ${count} times in the end`,
      withShops(async (shops) => {
        const body = { name: randomUUID() };
        const doomed = await start(shops, { dieAt });
        await expect(order(doomed, body)).rejects.toThrow('ended before a response');
        await doomed.exited;
        const answer = await orderUntilDone(other, body);
        expect(answer.status).toBe(201);
        expect(await counted(body.name)).toEqual({ reserve: count, charge: 1, mail: 1 });
      }),
    );
  }

  it.concurrent(
    'a throw after a finished step: the retry resumes behind it, at once',
    withShops(async () => {
      const body = { name: randomUUID(), failAfter: 'charge' };
      expect((await order(other, body)).status).toBe(500);
      expect(await counted(body.name)).toEqual({ reserve: 1, charge: 1, mail: 0 });
      const [charged] = await effectsOf(observer, `${body.name} charge`);
      const answer = await order(other, body);
      expect(answer.status).toBe(201);
      expect(answer.json<Placed>().charge.id).toBe(charged);
      expect(await counted(body.name)).toEqual({ reserve: 1, charge: 1, mail: 1 });
    }),
  );

  it.concurrent(
    'another request with the key of kept steps is refused, and takes nothing from them',
    withShops(async () => {
      const body = { name: randomUUID(), failAfter: 'reserve' };
      expect((await order(other, body)).status).toBe(500);
      const key = `key-${body.name}`;
      const stranger = await send(other, { path: '/orders', key, body: { name: 'other' } });
      expect(stranger.status).toBe(422);
      expect(await counted('other')).toEqual({ reserve: 0, charge: 0, mail: 0 });
      expect((await order(other, body)).status).toBe(201);
      expect(await counted(body.name)).toEqual({ reserve: 1, charge: 1, mail: 1 });
    }),
  );

  it.concurrent(
    'a zombie cannot record the step that it slept in',
    withShops(async (shops) => {
      const body = { name: randomUUID(), holdAfter: 'inside charge', holdMs: 100 };
      const sleeper = await start(shops);
      const effect = sleeper.nextEffect();
      const late = order(sleeper, body);
      await effect;
      sleeper.kill('SIGSTOP');
      const answer = await orderUntilDone(other, body);
      sleeper.kill('SIGCONT');
      const zombie = await late;

      expect(answer.status).toBe(201);
      const placed = answer.json<Placed>();
      expect(placed.attempt).toBe(2);
      expect(await counted(body.name)).toEqual({ reserve: 1, charge: 2, mail: 1 });
      // both charges carried the same derived key; the answer is of the one that counts
      expect(await effectsOf(observer, `${body.name} charge`)).toContain(placed.charge.id);
      expect([zombie.status, zombie.text]).toEqual([201, answer.text]);
      expect(zombie.header('idempotent-replayed')).toBe('true');
    }),
  );

  it('leaves no steps behind an outcome', async () => {
    const rows = await observer
      .createQueryBuilder()
      .select('r.steps', 'steps')
      .addSelect('r.state', 'state')
      .from('idempotency_record', 'r')
      .getRawMany<{ steps: Buffer | null; state: number }>();
    expect(rows.length).toBeGreaterThan(4);
    expect(rows.filter(({ steps, state }) => Number(state) === 1 && steps !== null)).toEqual([]);
  });
});
