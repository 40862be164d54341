import type { NestExpressApplication } from '@nestjs/platform-express';
import type { AddressInfo } from 'node:net';
import { DataSource } from 'typeorm';
import { createApp } from '../src/app.js';
import { Client, key } from './client.js';
import type { Answer } from './client.js';
import { databases } from './databases.js';
import type { TestDatabase } from './databases.js';

const times = <T>(count: number, what: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, what));
const statuses = (answers: readonly Answer[]): number[] =>
  answers.map(({ status }) => status).sort((a, b) => a - b);
const replayed = ({ headers }: Answer): boolean => headers.get('Idempotent-Replayed') === 'true';

/** Exactly one ran; each of the others got its answer, or was told to come back later. */
function expectOneRun(answers: readonly Answer[]): Answer {
  const won = answers.filter((answer) => answer.status < 300 && !replayed(answer));
  expect(won).toHaveLength(1);
  const [winner] = won as [Answer];
  for (const other of answers.filter((answer) => answer !== winner)) {
    if (replayed(other)) {
      expect([other.status, other.text]).toEqual([winner.status, winner.text]);
    } else {
      expect([other.status, other.json.code]).toEqual([409, 'IDEMPOTENCY_IN_PROGRESS']);
      expect(Number(other.headers.get('Retry-After'))).toBeGreaterThanOrEqual(1);
    }
  }
  return winner;
}

describe.each(databases)('the orders app on %s', (_name, createDatabase) => {
  let database: TestDatabase;
  let app: NestExpressApplication;
  let alice: Client;
  let bob: Client;

  beforeAll(async () => {
    database = await createDatabase();
    app = await createApp({ database: database.config, logger: false });
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as AddressInfo;
    alice = new Client(`http://127.0.0.1:${port}`, 'alice');
    bob = new Client(`http://127.0.0.1:${port}`, 'bob');
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  /** What an action changed, so that no test depends on the ones before it. */
  async function changes(action: () => Promise<unknown>) {
    const before = await alice.counters();
    await action();
    const after = await alice.counters();
    return {
      orders: after.orders - before.orders,
      charges: after.charges - before.charges,
      tea: after.stock.tea! - before.stock.tea!,
    };
  }

  const placed = async (client = alice): Promise<string> => (await client.place()).json.id;

  it('starts with full shelves, and shows them without a token', async () => {
    expect((await alice.counters()).stock).toMatchObject({ coffee: 500, rare: 1 });
  });

  it('has migrations that match its entities', async () => {
    const { upQueries } = await app.get(DataSource).driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
  });

  describe('placing an order', () => {
    it('answers a retry with the same order, byte for byte', async () => {
      const once = key();
      const answers: Answer[] = [];
      const changed = await changes(async () => {
        answers.push(await alice.place(once), await alice.place(once));
      });

      const [first, retry] = answers as [Answer, Answer];
      expect(changed).toEqual({ orders: 1, charges: 0, tea: -2 });
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
      expect(changed).toEqual({ orders: 1, charges: 0, tea: -2 });
    });

    it('places each of twenty different orders at once', async () => {
      const changed = await changes(async () => {
        expect(new Set(statuses(await times(20, () => alice.place())))).toEqual(new Set([201]));
      });
      expect(changed).toEqual({ orders: 20, charges: 0, tea: -40 });
    });

    it('never sells the last one twice', async () => {
      const answers = await times(10, () => alice.place(key(), { sku: 'rare', quantity: 1 }));

      expect(statuses(answers)).toEqual([201, ...Array<number>(9).fill(409)]);
      expect((await alice.counters()).stock.rare).toBe(0);
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
      expect(changed).toEqual({ orders: 1, charges: 0, tea: -2 });
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
      expect(changed).toEqual({ orders: 0, charges: 0, tea: 0 });
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
      expect(changed).toEqual({ orders: 0, charges: 0, tea: 0 });
    });
  });

  describe('paying', () => {
    const pay = (id: string, headers = key(), simulate = {}): Promise<Answer> =>
      alice.post(`/orders/${id}/pay`, headers, { simulate });

    it('charges once for a retry', async () => {
      const id = await placed();
      const once = key();
      const changed = await changes(async () => {
        const first = await pay(id, once);
        expect(first.status).toBe(200);
        expect(first.json).toMatchObject({ id, state: 'paid' });
        expect((await pay(id, once)).text).toBe(first.text);
      });
      expect(changed).toEqual({ orders: 0, charges: 1, tea: 0 });
    });

    it('needs no instructions', async () => {
      for (const body of [undefined, {}, { simulate: null }]) {
        const answer = await alice.post(`/orders/${await placed()}/pay`, key(), body);
        expect(answer.json.state).toBe('paid');
      }
    });

    it('charges once when the provider fails after charging', async () => {
      const id = await placed();
      const once = key();
      const changed = await changes(async () => {
        expect((await pay(id, once, { failAfter: true })).status).toBe(502);
        expect((await pay(id, key())).status).toBe(409);
        expect((await alice.post(`/orders/${id}/cancel`, key())).status).toBe(409);
        expect((await alice.send('DELETE', `/orders/${id}`)).status).toBe(409);
        expect((await pay(id, once, { failAfter: true })).json.state).toBe('paid');
      });
      expect(changed).toEqual({ orders: 0, charges: 1, tea: 0 });
    });

    it('charges nothing when the provider fails before, and lets any payment try again', async () => {
      const id = await placed();
      const once = key();
      const changed = await changes(async () => {
        expect((await pay(id, once, { failBefore: true })).status).toBe(502);
        expect((await pay(id, once, { failBefore: true })).status).toBe(502);
      });
      expect(changed).toEqual({ orders: 0, charges: 0, tea: 0 });
      expect((await pay(id, once)).json.state).toBe('paid');

      const other = await placed();
      expect((await pay(other, key(), { failBefore: true })).status).toBe(502);
      expect((await pay(other, key())).json.state).toBe('paid');
    });

    it('charges once for duplicates of a slow payment', async () => {
      const id = await placed();
      const once = key();
      const changed = await changes(async () => {
        expectOneRun(await times(5, () => pay(id, once, { delayMs: 200 })));
      });
      expect(changed).toEqual({ orders: 0, charges: 1, tea: 0 });
    });

    it('charges once for payments with different keys', async () => {
      const id = await placed();
      const changed = await changes(async () => {
        const answers = await times(5, () => pay(id, key(), { delayMs: 50 }));
        expect(statuses(answers)).toEqual([200, 409, 409, 409, 409]);
        expect((await pay(id, key())).status).toBe(409);
      });
      expect(changed).toEqual({ orders: 0, charges: 1, tea: 0 });
    });

    it('refuses an order that is cancelled or unknown', async () => {
      const id = await placed();
      await alice.post(`/orders/${id}/cancel`, key());
      expect((await pay(id)).status).toBe(409);
      expect((await pay('none')).status).toBe(404);
      expect((await pay(crypto.randomUUID())).status).toBe(404);
    });

    it('refuses a delay of more than half a minute', async () => {
      expect((await pay(await placed(), key(), { delayMs: 30_001 })).status).toBe(400);
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
      expect(changed).toEqual({ orders: 1, charges: 0, tea: 0 });
    });

    it('puts the units back once for ten requests at once', async () => {
      const changed = await changes(async () => {
        const path = `/orders/${await placed()}/cancel`;
        expect(statuses(await times(10, () => alice.post(path, key())))).toEqual(
          Array<number>(10).fill(200),
        );
      });
      expect(changed).toEqual({ orders: 1, charges: 0, tea: 0 });
    });

    it('refuses an order that is paid', async () => {
      const id = await placed();
      await alice.post(`/orders/${id}/pay`, key());
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
      expect(changed).toEqual({ orders: 0, charges: 0, tea: -3 });
    });

    it('lets one of ten changes of one version through', async () => {
      const id = await placed();
      const changed = await changes(async () => {
        expect(statuses(await times(10, () => patch(id, '"1"', { quantity: 1 })))).toEqual([
          200,
          ...Array<number>(9).fill(412),
        ]);
      });
      expect(changed).toEqual({ orders: 0, charges: 0, tea: 1 });
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
      expect(changed).toEqual({ orders: 0, charges: 0, tea: 0 });
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
      expect(changed).toEqual({ orders: 2, charges: 0, tea: -4 });
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
