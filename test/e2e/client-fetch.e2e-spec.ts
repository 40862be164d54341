import 'reflect-metadata';
import { setTimeout as delay } from 'node:timers/promises';
import {
  forgetIntent,
  idempotentFetch,
  uuidv4,
  uuidv7,
  type IdempotencyOptions,
  type KeyStorage,
} from 'nestjs-idempotency/client';
import { eventually, platforms, type Platform } from '../support/http.js';
import { openKeyShop, type KeyShop } from '../support/key-shop.js';

let shop: KeyShop;
/** An intent that no other test has. */
let intent: string;

const UUID_V7 = /^"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$/;

async function open(platform: Platform): Promise<void> {
  shop = await openKeyShop(platform);
  intent = uuidv4();
}

function place(options?: IdempotencyOptions, init: RequestInit = {}): Promise<Response> {
  return idempotentFetch(
    shop.url,
    {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sku: 'tea' }),
      ...init,
    },
    options,
  );
}
const order = async (answer: Promise<Response>): Promise<unknown> => (await answer).json();
const keys = (): Set<string | undefined> => new Set(shop.came.map(({ key }) => key));
/** Milliseconds between the first two requests. */
const gap = (): number => shop.came[1]!.at - shop.came[0]!.at;

describe.each(platforms)('idempotentFetch() on %s', (platform) => {
  beforeEach(() => open(platform));
  afterEach(() => shop.close());

  it('sends a UUIDv7 in quotes, another for each call', async () => {
    expect(await order(place())).toEqual({ order: 1, sku: 'tea' });
    expect(await order(place())).toEqual({ order: 2, sku: 'tea' });
    expect(keys().size).toBe(2);
    expect(shop.came[0]!.key).toMatch(UUID_V7);
  });

  it.each(['before', 'answered'] as const)(
    'sends the same key again when the line broke (%s), and nothing happens twice',
    async (when) => {
      const cut = shop.line.cutAt('POST /orders', when);
      const answer = await place();
      await cut;
      expect(await answer.json()).toEqual({ order: 1, sku: 'tea' });
      expect(answer.headers.get('idempotent-replayed')).toBe(when === 'answered' ? 'true' : null);
      expect(keys().size).toBe(1);
      expect(shop.orders()).toBe(1);
    },
  );

  it('gives calls for one intent one key, and both the answer of the first', async () => {
    const gate = shop.hold();
    const answers = Promise.all([place({ intent }), place({ intent })]);
    await eventually(() => shop.came.length === 2, 'two requests');
    await delay(50);
    gate.open();
    for (const answer of await answers) {
      expect(await answer.json()).toEqual({ order: 1, sku: 'tea' });
    }
    expect(keys().size).toBe(1);
    expect(shop.orders()).toBe(1);
  });

  it.each([425, 429, 500, 502, 503, 504])('retries %d', async (status) => {
    shop.gateway({ status }, { status, body: 'later' });
    expect(await order(place())).toEqual({ order: 1, sku: 'tea' });
    expect(shop.came).toHaveLength(3);
    expect(keys().size).toBe(1);
    expect(gap()).toBeGreaterThan(95);
    expect(gap()).toBeLessThan(1_000);
  });

  it('waits as many seconds as Retry-After says', async () => {
    shop.gateway({ status: 429, headers: { 'retry-after': '1' } });
    await place();
    expect(gap()).toBeGreaterThan(990);
  });

  it('waits until the date of Retry-After by the clock of the server', async () => {
    // a server whose clock is a year behind
    const headers = {
      date: 'Mon, 24 Nov 2025 10:00:00 GMT',
      'retry-after': 'Mon, 24 Nov 2025 10:00:01 GMT',
    };
    shop.gateway({ status: 503, headers });
    await place();
    expect(gap()).toBeGreaterThan(990);
    expect(gap()).toBeLessThan(5_000);
  });

  it('does not mind a Retry-After that says nothing', async () => {
    shop.gateway(
      { status: 503, headers: { 'retry-after': 'soon' } },
      { status: 503, headers: { 'retry-after': 'Mon, 24 Nov 2025 10:00:01 GMT' } },
      { status: 503, headers: { 'retry-after': '-7' } },
    );
    expect((await place()).status).toBe(201);
  });

  it('does not retry a key that is used for another request, and leaves its body to read', async () => {
    await place({ key: 'k-1' });
    const answer = await place({ key: 'k-1' }, { body: JSON.stringify({ sku: 'coffee' }) });
    expect(answer.status).toBe(422);
    expect(answer.bodyUsed).toBe(false);
    expect(await answer.json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
    expect(shop.came).toHaveLength(2);
  });

  it('does not retry 422, whatever its body says', async () => {
    const headers = { 'content-type': 'application/problem+json', 'retry-after': '0' };
    shop.gateway({ status: 422, headers, body: '{"retryable":true}' });
    expect((await place()).status).toBe(422);
    expect(shop.came).toHaveLength(1);
  });

  it('does not retry an uncertain outcome, and keeps the key of its intent', async () => {
    const pay = () => idempotentFetch(`${shop.url}/uncertain`, { method: 'POST' }, { intent });
    for (const requests of [2, 3]) {
      // the first call had a 502 and tried again
      const answer = await pay();
      expect(answer.status).toBe(409);
      expect(await answer.json()).toMatchObject({ code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' });
      expect(shop.came).toHaveLength(requests);
    }
    expect(keys().size).toBe(1);
    expect(shop.orders()).toBe(1);
    await forgetIntent(intent);
    await pay();
    expect(keys().size).toBe(2);
  });
});

describe('idempotentFetch()', () => {
  beforeEach(() => open('express'));
  afterEach(() => shop.close());

  it.each([
    ['says that it is not retryable', { status: 503 }, '{"retryable":false}'],
    ['is a conflict of the application', { status: 409 }, '{"title":"sold out"}'],
    ['is recorded', { status: 503, headers: { 'idempotent-replayed': 'true' } }, '{}'],
  ])('does not retry what %s', async (_, answer, body) => {
    const headers = { 'content-type': 'application/problem+json; charset=utf-8' };
    shop.gateway({
      ...answer,
      headers: { ...headers, ...('headers' in answer && answer.headers) },
      body,
    });
    const response = await place();
    expect(response.status).toBe(answer.status);
    expect(await response.text()).toBe(body);
    expect(shop.came).toHaveLength(1);
  });

  it.each([
    ['says that it is retryable', { 'content-type': 'application/problem+json' }],
    ['says when it passes', { 'retry-after': '0' }],
  ])('retries a conflict that %s', async (_, headers) => {
    shop.gateway({ status: 409, headers, body: '{"retryable":true}' });
    expect((await place()).status).toBe(201);
    expect(shop.came).toHaveLength(2);
  });

  describe('with a deadline', () => {
    it('gives up a request that is not answered, and keeps the key of its intent', async () => {
      const gate = shop.hold();
      const since = performance.now();
      await expect(place({ intent, deadline: 300 })).rejects.toMatchObject({
        name: 'IdempotencyClientError',
        code: 'IDEMPOTENCY_UNANSWERED',
      });
      expect(performance.now() - since).toBeGreaterThan(290);
      expect(performance.now() - since).toBeLessThan(3_000);
      gate.open();
      expect(await order(place({ intent }))).toEqual({ order: 1, sku: 'tea' });
      expect(keys().size).toBe(1);
    });

    it('gives up a server that is not there, with the last error', async () => {
      shop.line.mode('cut');
      await expect(place({ deadline: 1_500 })).rejects.toMatchObject({
        code: 'IDEMPOTENCY_UNANSWERED',
        cause: { message: 'fetch failed' },
      });
    });

    it('returns an answer at once that asks to wait for longer', async () => {
      shop.gateway({ status: 503, headers: { 'retry-after': '60' }, body: 'down' });
      const since = performance.now();
      const answer = await place({ deadline: 5_000 });
      expect(performance.now() - since).toBeLessThan(2_500);
      expect(await answer.text()).toBe('down');
    });

    it('lets an answer that came in time be read afterwards', async () => {
      const answer = await place({ deadline: 1_000 });
      await delay(1_050);
      expect(await answer.json()).toEqual({ order: 1, sku: 'tea' });
    });

    it.each([0, -1, NaN, Infinity, 2 ** 31])('refuses %d', async (deadline) => {
      await expect(place({ deadline })).rejects.toMatchObject({
        code: 'IDEMPOTENCY_CLIENT_MISUSED',
      });
      expect(shop.came).toEqual([]);
    });
  });

  describe('with a time-out for a try', () => {
    it('gives up a try that hangs, and makes it again with the same key', async () => {
      const gate = shop.hold();
      const since = performance.now();
      const answer = place({ tryTimeout: 300 });
      await eventually(() => shop.came.length === 2, 'a retry');
      gate.open();
      expect(await order(answer)).toEqual({ order: 1, sku: 'tea' });
      expect(shop.came[1]!.at - since).toBeGreaterThan(390);
      expect(keys().size).toBe(1);
      expect(shop.orders()).toBe(1);
    });

    it('makes it again on a new connection where the line is dead', async () => {
      shop.line.mode('silent');
      const answer = place({ tryTimeout: 300 });
      await delay(200);
      shop.line.mode('through');
      expect(await order(answer)).toEqual({ order: 1, sku: 'tea' });
      expect(shop.orders()).toBe(1);
    });

    it('gives up at the deadline, and tells that tries timed out', async () => {
      shop.line.mode('silent');
      const since = performance.now();
      await expect(place({ tryTimeout: 100, deadline: 900 })).rejects.toMatchObject({
        code: 'IDEMPOTENCY_UNANSWERED',
        cause: { name: 'TimeoutError' },
      });
      expect(performance.now() - since).toBeLessThan(3_000);
    });

    it('never retries what the caller aborted', async () => {
      const { signal, abort } = aborting();
      const gate = shop.hold();
      const answer = place({ tryTimeout: 200 }, { signal });
      await gate.reached;
      const reason = new DOMException('as a time-out says it', 'TimeoutError');
      abort(reason);
      await expect(answer).rejects.toBe(reason);
      await delay(400);
      expect(shop.came).toHaveLength(1);
    });

    it('lets an answer that came in time be read afterwards', async () => {
      const answer = await place({ tryTimeout: 1_000 });
      await delay(1_050);
      expect(await answer.json()).toEqual({ order: 1, sku: 'tea' });
    });

    it.each([0, -1, NaN])('refuses %d', async (tryTimeout) => {
      await expect(place({ tryTimeout })).rejects.toMatchObject({
        code: 'IDEMPOTENCY_CLIENT_MISUSED',
      });
      expect(shop.came).toEqual([]);
    });
  });

  describe('with a signal', () => {
    const reason = new Error('never mind');

    it('ends a request, and keeps the key of its intent', async () => {
      const { signal, abort } = aborting();
      const gate = shop.hold();
      const answer = place({ intent }, { signal });
      await gate.reached;
      abort(reason);
      await expect(answer).rejects.toBe(reason);
      gate.open();
      expect(await order(place({ intent }))).toEqual({ order: 1, sku: 'tea' });
      expect(keys().size).toBe(1);
    });

    it('ends a wait', async () => {
      const { signal, abort } = aborting();
      shop.gateway({ status: 503, headers: { 'retry-after': '20' } });
      const answer = place({}, { signal });
      await eventually(() => shop.came.length === 1, 'a request');
      await delay(50);
      abort(reason);
      await expect(answer).rejects.toBe(reason);
      expect(shop.came).toHaveLength(1);
    });

    it('sends nothing when it was there before', async () => {
      await expect(place({}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(shop.came).toEqual([]);
    });

    it('still ends the reading of the body', async () => {
      const { signal, abort } = aborting();
      const answer = await place({}, { signal });
      abort(reason);
      await expect(answer.text()).rejects.toThrow();
    });
  });

  describe('the key of an intent', () => {
    it('is another one once there is an outcome', async () => {
      await place({ intent });
      await place({ intent });
      expect(keys().size).toBe(2);
      expect(shop.orders()).toBe(2);
    });

    it('is another one once it was refused, so that a corrected request can be made', async () => {
      const answer = await place({ intent }, { body: JSON.stringify({ sku: 'declined' }) });
      expect(answer.status).toBe(402);
      expect((await place({ intent })).status).toBe(201);
      expect(keys().size).toBe(2);
    });

    it('stays while an earlier try may have happened, whatever refuses the next one', async () => {
      const { signal, abort } = aborting();
      const gate = shop.hold();
      const first = place({ intent }, { signal });
      await gate.reached;
      abort(new Error('gone'));
      await expect(first).rejects.toThrow('gone');
      gate.open();
      await eventually(() => shop.orders() === 1, 'the order');
      // a session that has ended meanwhile
      shop.gateway({ status: 401 }, { status: 401 });
      expect((await place({ intent })).status).toBe(401);
      expect((await place({ intent })).status).toBe(401);
      const answer = await place({ intent });
      expect(answer.headers.get('idempotent-replayed')).toBe('true');
      expect(keys().size).toBe(1);
      expect(shop.orders()).toBe(1);
    });

    it('stays when the first call itself was refused after a try without an answer', async () => {
      const cut = shop.line.cutAt('POST /orders', 'answered');
      const first = place({ intent });
      await cut;
      shop.gateway({ status: 403 });
      expect((await first).status).toBe(403);
      expect((await place({ intent })).headers.get('idempotent-replayed')).toBe('true');
      expect(keys().size).toBe(1);
    });

    it('stays when a page to log in answers after a try without an answer', async () => {
      for (const redirect of ['follow', 'manual'] as const) {
        const cut = shop.line.cutAt('POST /orders', 'answered');
        const first = place({ intent }, { redirect });
        await cut;
        shop.gateway({ status: 302, headers: { location: '/orders' } });
        expect((await first).status).toBe(redirect === 'follow' ? 200 : 302);
        expect((await place({ intent })).headers.get('idempotent-replayed')).toBe('true');
      }
      expect(shop.orders()).toBe(2);
    });

    it('is another one after a redirect of the only try', async () => {
      shop.gateway({ status: 302, headers: { location: '/orders' } });
      await place({ intent });
      await place({ intent });
      expect(shop.came.map(({ method }) => method)).toEqual(['POST', 'GET', 'POST']);
      expect(shop.came[2]!.key).not.toBe(shop.came[0]!.key);
    });

    it('is not forgotten by a call for the one before', async () => {
      const gate = shop.hold();
      const first = Promise.race([place({ intent }), place({ intent })]);
      await eventually(() => shop.came.length === 2, 'two requests');
      await delay(50);
      gate.open();
      await first;
      // the other one asks again in a second
      const next = shop.hold();
      const later = place({ intent });
      await eventually(() => shop.came.length === 4, 'the retry');
      await delay(50);
      const last = place({ intent });
      await eventually(() => shop.came.length >= 5, 'the last call');
      next.open();
      await Promise.all([later, last]);
      expect(keys().size).toBe(2);
      expect(shop.orders()).toBe(2);
    });

    it('outlives the process in a storage, and is one for calls at once however slow that is', async () => {
      const storage = slowly(20);
      const gate = shop.hold();
      const answers = Promise.all([place({ intent, storage }), place({ intent, storage })]);
      await eventually(() => shop.came.length >= 2, 'two requests');
      expect([...storage.items]).toEqual([[`idempotency-key:${intent}`, `2 ${shop.came[0]!.key}`]]);
      gate.open();
      await answers;
      expect(keys().size).toBe(1);
      expect(storage.items.size).toBe(0);
    });

    it('is made by the maker only where none is pending', async () => {
      shop.gateway({ status: 503, headers: { 'retry-after': '60' } });
      await place({ intent, key: 'first' });
      await place({ intent, key: 'second' });
      expect(shop.came.map(({ key }) => key)).toEqual(['"first"', '"first"']);
      // a late second click on the same form
      await place({ intent, key: 'first' });
      expect(shop.orders()).toBe(1);
    });

    it('is needed: nothing is sent when the storage fails or holds something else', async () => {
      const broken = { getItem: () => null, setItem: () => Promise.reject(new Error('full')) };
      const foreign = { getItem: () => 'something', setItem: () => undefined };
      for (const storage of [broken, foreign]) {
        await expect(
          place({ intent, storage: { ...storage, removeItem: () => undefined } }),
        ).rejects.toMatchObject({ code: 'IDEMPOTENCY_STORAGE_FAILED' });
      }
      expect(shop.came).toEqual([]);
    });

    it('does not cost an answer when the storage fails later', async () => {
      const removeItem = () => Promise.reject(new Error('locked'));
      const answer = await place({ intent, storage: { ...slowly(0), removeItem } });
      expect(answer.status).toBe(201);
    });
  });

  it.each([
    ['a text', 'k-1', '"k-1"'],
    ['a text with quotes', 'say "\\"', '"say \\"\\\\\\""'],
    ['a maker', () => 'k-2', '"k-2"'],
    ['a maker that takes its time', async () => uuidv7(0), '"00000000-0000-7'],
  ])('takes %s as key', async (_, key, sent) => {
    await place({ key });
    expect(shop.came[0]!.key?.startsWith(sent)).toBe(true);
  });

  it.each(['', ' ', 'ü', 'a\nb', 'x'.repeat(256)])('refuses the key %j', async (key) => {
    await expect(place({ key, intent })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CLIENT_MISUSED',
    });
    expect(shop.came).toEqual([]);
  });

  it('leaves a header that is there as it is', async () => {
    shop.gateway({ status: 503 });
    await place({}, { headers: { 'Idempotency-Key': 'mine', 'content-type': 'application/json' } });
    expect(shop.came.map(({ key }) => key)).toEqual(['mine', 'mine']);
  });

  it('takes another header', async () => {
    shop.gateway({ status: 200 });
    await place({ header: 'X-Request-Id' });
    expect(shop.came[0]!.key).toBeUndefined();
  });

  it('retries what changes nothing, without a key', async () => {
    shop.gateway({ status: 503 });
    const answer = await idempotentFetch(shop.url);
    expect(await answer.json()).toEqual({ orders: 0 });
    expect(shop.came.map(({ method, key }) => [method, key])).toEqual([
      ['GET', undefined],
      ['GET', undefined],
    ]);
  });

  describe('a body', () => {
    const json = { 'content-type': 'application/json' };
    const bodies: [string, () => [Request | string, RequestInit?]][] = [
      ['of text', () => [echo(), { method: 'POST', headers: json, body: '{"n":1}' }]],
      [
        'of bytes',
        () => [
          echo(),
          { method: 'POST', headers: json, body: new TextEncoder().encode('{"n":1}') },
        ],
      ],
      ['of a blob', () => [echo(), { method: 'POST', headers: json, body: new Blob(['{"n":1}']) }]],
      [
        'of a Request',
        () => [new Request(echo(), { method: 'POST', headers: json, body: '{"n":1}' })],
      ],
    ];
    it.each(bodies)('%s is the same in each try', async (_, request) => {
      shop.gateway({ status: 503 });
      const cut = shop.line.cutAt('POST /orders', 'answered');
      const [input, init] = request();
      const answer = await idempotentFetch(input, init);
      await cut;
      expect(answer.status).toBe(201);
      expect(await answer.json()).toEqual({ n: 1 });
    });

    it('that is empty stays so', async () => {
      for (const body of [undefined, '']) {
        shop.gateway({ status: 503 }, { status: 204 });
        const answer = await idempotentFetch(echo(), { method: 'DELETE', body: body ?? null });
        expect(answer.status).toBe(204);
      }
      expect(shop.came).toHaveLength(4);
    });

    it('that changes meanwhile is sent as it was', async () => {
      const body = new TextEncoder().encode('{"n":1}');
      shop.gateway({ status: 503 });
      const answer = idempotentFetch(echo(), { method: 'POST', headers: json, body });
      body.fill(32);
      expect(await (await answer).json()).toEqual({ n: 1 });
    });

    it.each([
      ['a stream', new Blob(['{}']).stream()],
      ['an iterable', (async function* () {})()],
    ])('that is %s is refused', async (_, body) => {
      const init = { method: 'POST', headers: json, body, duplex: 'half' } as RequestInit;
      await expect(idempotentFetch(echo(), init)).rejects.toMatchObject({
        code: 'IDEMPOTENCY_BODY_NOT_REPEATABLE',
      });
      expect(shop.came).toEqual([]);
    });
  });
});

const echo = (): string => `${shop.url}/echo`;

function aborting(): { signal: AbortSignal; abort: (reason: Error) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}

/** A storage that takes its time. */
function slowly(ms: number): KeyStorage & { readonly items: Map<string, string> } {
  const items = new Map<string, string>();
  return {
    items,
    async getItem(name) {
      await delay(ms);
      return items.get(name);
    },
    async setItem(name, value) {
      await delay(ms);
      items.set(name, value);
    },
    async removeItem(name) {
      await delay(ms);
      items.delete(name);
    },
  };
}
