import { setImmediate as turnOfTheEventLoop } from 'node:timers/promises';
import type { OpenAPIObject } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { Transactions } from '../src/database/transactions.js';
import { Inventory } from '../src/orders/inventory.js';
import { expectOneRun, replayed, statuses, times } from './answers.js';
import { key } from './client.js';
import type { Answer, Client } from './client.js';
import { databases } from './databases.js';
import { Shop } from './shop.js';

type Parameter = { readonly name: string; readonly required: boolean };

describe.each(databases)('the orders app on %s', (_name, createDatabase) => {
  let shop: Shop;
  let alice: Client;
  let bob: Client;

  beforeAll(async () => {
    shop = await Shop.open(createDatabase);
    ({ alice, bob } = shop);
  });

  afterAll(() => shop?.close());

  const changes: Shop['changes'] = (action) => shop.changes(action);
  const placed = (): Promise<string> => shop.placed();

  it('starts with full shelves, and shows them without a token', async () => {
    expect((await alice.counters()).stock).toMatchObject({ coffee: 500, rare: 1 });
  });

  it('has migrations that match its entities', async () => {
    const { upQueries } = await shop.app.get(DataSource).driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
  });

  it('tells of its keys in the document it serves', async () => {
    const { text } = await alice.get('/docs-json');
    const { paths } = JSON.parse(text) as OpenAPIObject;
    const keys = Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item as Record<string, { parameters: Parameter[] }>).flatMap(
        ([method, { parameters }]) =>
          parameters
            .filter(({ name }) => name === 'Idempotency-Key')
            .map(({ required }) => [`${method} ${path}`, required]),
      ),
    );
    expect(Object.fromEntries(keys)).toEqual({
      'post /checkout': true,
      'post /orders': true,
      'post /orders/{id}/cancel': false,
      'post /orders/{id}/pay': true,
    });
    expect((await fetch(alice.baseUrl + '/docs')).headers.get('Content-Type')).toMatch('text/html');
  });

  it('shows its records to whoever develops, without a token, and no part of the document', async () => {
    const page = await fetch(`${alice.baseUrl}/idempotency`);
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('<h1>')]);
    expect((await alice.get('/docs-json')).text).not.toContain('/idempotency');
  });

  describe('placing an order', () => {
    it('answers a retry with the same order, byte for byte', async () => {
      const once = key();
      const answers: Answer[] = [];
      const changed = await changes(async () => {
        answers.push(await alice.place(once), await alice.place(once));
      });

      const [first, retry] = answers as [Answer, Answer];
      expect(changed).toEqual({ orders: 1, tea: -2 });
      expect(first.status).toBe(201);
      expect(first.json).toMatchObject({ sku: 'tea', quantity: 2, totalCents: 900 });
      expect([replayed(first), replayed(retry)]).toEqual([false, true]);
      expect([retry.status, retry.text]).toEqual([first.status, first.text]);
      for (const name of ['Content-Type', 'ETag', 'Location']) {
        expect(retry.headers.get(name)).toBe(first.headers.get(name));
      }
    });

    it('places one order for twenty requests at once', async () => {
      const once = key();
      const changed = await changes(async () => {
        const winner = expectOneRun(await times(20, () => alice.place(once)));
        const late = await alice.place(once);
        expect([late.text, replayed(late)]).toEqual([winner.text, true]);
      });
      expect(changed).toEqual({ orders: 1, tea: -2 });
    });

    it('places each of twenty different orders at once', async () => {
      const changed = await changes(async () => {
        expect(new Set(statuses(await times(20, () => alice.place())))).toEqual(new Set([201]));
      });
      expect(changed).toEqual({ orders: 20, tea: -40 });
    });

    it('never sells the last one twice', async () => {
      const answers = await times(10, () => alice.place(key(), { sku: 'rare', quantity: 1 }));

      expect(statuses(answers)).toEqual([201, ...Array<number>(9).fill(409)]);
      expect((await alice.counters()).stock.rare).toBe(0);
    });

    it('leaves nothing of an order for which the stock runs out', async () => {
      const once = key();
      const changed = await changes(async () => {
        expect((await alice.place(once, { sku: 'tea', quantity: 9_999 })).status).toBe(409);
      });
      expect(changed).toEqual({});
      const listed = JSON.parse((await alice.get('/orders')).text) as { quantity: number }[];
      expect(listed.map(({ quantity }) => quantity)).not.toContain(9_999);
      expect(await changes(() => alice.place(once))).toEqual({ orders: 1, tea: -2 });
    });

    it('runs the same key again after a refusal, which is not stored', async () => {
      const once = key();
      expect((await alice.place(once, { sku: 'coffee', quantity: 501 })).status).toBe(409);
      expect((await alice.place(once, { sku: 'coffee', quantity: 1 })).status).toBe(201);
      expect((await alice.place(key(), { sku: 'cocoa', quantity: 1 })).status).toBe(404);
    });

    it('takes the corrected body under the key of the invalid one', async () => {
      const once = key();
      const changed = await changes(async () => {
        expect((await alice.place(once, { sku: 'tea', quantity: 0 })).status).toBe(400);
        expect((await alice.place(once, { sku: 'tea', quantity: 2, gift: true })).status).toBe(400);
        expect((await alice.place(once)).status).toBe(201);
      });
      expect(changed).toEqual({ orders: 1, tea: -2 });
    });

    it('refuses another body under a used key, and still replays the first', async () => {
      const once = key();
      const first = await alice.place(once);
      const changed = await changes(async () => {
        const other = await alice.place(once, { sku: 'tea', quantity: 3 });
        expect(other.status).toBe(422);
        expect(other.json.code).toBe('IDEMPOTENCY_KEY_REUSED');
        expect((await alice.place(once)).text).toBe(first.text);
      });
      expect(changed).toEqual({});
    });

    it('asks for a key and for a token', async () => {
      const changed = await changes(async () => {
        const withoutKey = await alice.place({});
        expect(withoutKey.status).toBe(400);
        expect(withoutKey.headers.get('Content-Type')).toMatch('application/problem+json');
        expect(withoutKey.json.code).toBe('IDEMPOTENCY_KEY_MISSING');
        expect((await alice.place({ ...key(), Authorization: '' })).status).toBe(401);
        expect((await alice.place({ ...key(), Authorization: 'Bearer eve' })).status).toBe(401);
      });
      expect(changed).toEqual({});
    });
  });

  describe('cancelling', () => {
    it('puts the units back once, with the same key, another one, or none', async () => {
      const changed = await changes(async () => {
        const path = `/orders/${await placed()}/cancel`;
        const once = key();
        const first = await alice.post(path, once);
        const retry = await alice.post(path, once);
        expect(first.json.state).toBe('cancelled');
        expect(replayed(retry)).toBe(true);
        const others = [retry, await alice.post(path, key()), await alice.post(path, {})];
        for (const { status, text } of others) {
          expect([status, text]).toEqual([200, first.text]);
        }
      });
      expect(changed).toEqual({ orders: 1 });
    });

    it('puts the units back once for ten requests at once', async () => {
      const changed = await changes(async () => {
        const path = `/orders/${await placed()}/cancel`;
        expect(statuses(await times(10, () => alice.post(path, key())))).toEqual(
          Array<number>(10).fill(200),
        );
      });
      expect(changed).toEqual({ orders: 1 });
    });

    it('refuses an order that is paid', async () => {
      const id = await placed();
      await shop.pay(id);
      expect((await alice.post(`/orders/${id}/cancel`, key())).status).toBe(409);
    });
  });

  describe('changing', () => {
    const patch = (id: string, tag: string | undefined, body: unknown): Promise<Answer> =>
      alice.send('PATCH', `/orders/${id}`, tag === undefined ? {} : { 'If-Match': tag }, body);

    it('changes the version that was read, and no other', async () => {
      const id = await placed();
      const tag = (await alice.get(`/orders/${id}`)).headers.get('ETag')!;
      expect(tag).toBe('"1"');
      expect((await patch(id, undefined, { quantity: 5 })).status).toBe(428);
      expect((await patch(id, '"7"', { quantity: 5 })).status).toBe(412);

      const changed = await changes(async () => {
        const first = await patch(id, tag, { quantity: 5 });
        expect(first.status).toBe(200);
        expect(first.headers.get('ETag')).toBe('"2"');
        expect(first.json).toMatchObject({ quantity: 5, totalCents: 2250, version: 2 });
        expect((await patch(id, tag, { quantity: 5 })).status).toBe(412);
      });
      expect(changed).toEqual({ tea: -3 });
    });

    it('lets one of ten changes of one version through', async () => {
      const id = await placed();
      const changed = await changes(async () => {
        expect(statuses(await times(10, () => patch(id, '"1"', { quantity: 1 })))).toEqual([
          200,
          ...Array<number>(9).fill(412),
        ]);
      });
      expect(changed).toEqual({ tea: 1 });
    });

    it('changes nothing when the stock is too low', async () => {
      const id = await placed();
      expect((await patch(id, '"1"', { quantity: 9_999 })).status).toBe(409);
      expect((await alice.get(`/orders/${id}`)).json).toMatchObject({ quantity: 2, version: 1 });
    });
  });

  describe('what is idempotent by nature', () => {
    it('sets a note twice and leaves one version', async () => {
      const path = `/orders/${await placed()}/note`;
      const first = await alice.send('PUT', path, {}, { note: 'Ring twice' });
      const second = await alice.send('PUT', path, {}, { note: 'Ring twice' });
      expect(first.json).toMatchObject({ note: 'Ring twice', version: 2 });
      expect([second.status, second.text]).toEqual([200, first.text]);
    });

    it('deletes twice, and puts the units back once', async () => {
      const changed = await changes(async () => {
        const path = `/orders/${await placed()}`;
        expect((await alice.send('DELETE', path)).status).toBe(204);
        expect((await alice.send('DELETE', path)).status).toBe(204);
        expect((await alice.get(path)).status).toBe(404);
      });
      expect(changed).toEqual({});
    });
  });

  describe('two tenants', () => {
    it('keep their orders and their keys to themselves', async () => {
      const once = key();
      const changed = await changes(async () => {
        const hers = await alice.place(once);
        const his = await bob.place(once);
        expect([his.status, replayed(his)]).toEqual([201, false]);
        expect(his.json.id).not.toBe(hers.json.id);

        const path = `/orders/${hers.json.id}`;
        expect((await bob.get(path)).status).toBe(404);
        expect((await bob.get('/orders')).text).not.toContain(hers.json.id);
        expect((await alice.get('/orders')).text).toContain(hers.json.id);
        expect((await bob.post(`${path}/pay`, key())).status).toBe(404);
        expect((await bob.post(`${path}/cancel`, key())).status).toBe(404);
        expect((await bob.send('PUT', `${path}/note`, {}, { note: 'mine' })).status).toBe(404);
        expect((await bob.send('PATCH', path, { 'If-Match': '*' }, { quantity: 1 })).status).toBe(
          404,
        );
        expect((await bob.send('DELETE', path)).status).toBe(204);
        expect((await alice.get(path)).json).toMatchObject({ state: 'placed', quantity: 2 });
      });
      expect(changed).toEqual({ orders: 2, tea: -4 });
    });
  });

  it('keeps transactions that run at once apart', async () => {
    const [transactions, inventory] = [shop.app.get(Transactions), shop.app.get(Inventory)];
    const sell = (units: number, fails = false): Promise<void> =>
      transactions.run(async (manager) => {
        await inventory.take(manager, 'tea', units);
        await turnOfTheEventLoop();
        if (fails) {
          throw new Error('No sale.');
        }
      });
    const changed = await changes(async () => {
      const ended = await Promise.allSettled([sell(1), sell(2, true), sell(4)]);
      expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    });
    expect(changed).toEqual({ tea: -5 });
  });

  it('keeps shelves and orders in step, whatever happens at once', async () => {
    const ids = await Promise.all(Array.from({ length: 10 }, () => placed()));
    const changed = await changes(async () => {
      const answers = await Promise.all(
        ids.flatMap((id, index) => [
          alice.place(key(), { sku: 'tea', quantity: 1 }),
          alice.place(key(), { sku: 'tea', quantity: 9_999 }),
          alice.send('PATCH', `/orders/${id}`, { 'If-Match': '"1"' }, { quantity: 3 }),
          alice.send('PATCH', `/orders/${id}`, { 'If-Match': '"1"' }, { quantity: 9_999 }),
          index % 2 === 0 ? alice.post(`/orders/${id}/cancel`, key()) : shop.pay(id),
        ]),
      );
      expect(statuses(answers).filter((status) => status >= 500)).toEqual([]);
    });

    const now = await Promise.all(ids.map(async (id) => (await alice.get(`/orders/${id}`)).json));
    expect(now.map(({ state }) => state)).toEqual(
      ids.map((_, index) => (index % 2 === 0 ? 'cancelled' : 'paid')),
    );
    const units = now
      .filter(({ state }) => state === 'paid')
      .reduce((sum, { quantity }) => sum + quantity, 0);
    // each of the ten had 2 units, and ten orders of 1 came to them
    expect(changed).toEqual({
      orders: 10,
      chargeAttempts: 5,
      charges: 5,
      payments: 5,
      tea: 20 - 10 - units,
    });
  });

  it('lets a browser of another origin send keys and see replays', async () => {
    const answer = await alice.send('OPTIONS', '/orders', {
      Origin: 'https://shop.example',
      'Access-Control-Request-Method': 'POST',
    });
    expect(answer.headers.get('Access-Control-Allow-Headers')).toContain('Idempotency-Key');
    expect((await alice.get('/orders')).headers.get('Access-Control-Expose-Headers')).toContain(
      'Idempotent-Replayed',
    );
  });
});
