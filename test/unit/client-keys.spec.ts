import { contentKey, timeKey, uuidv4, uuidv7 } from 'nestjs-idempotency/client';
import { parseKey } from '../../src/engine/key-header.js';
import { keyTime } from '../../src/engine/key-time.js';

const makers = { uuidv7, uuidv4, timeKey };

describe.each(Object.entries(makers))('%s', (_, make) => {
  it('makes another key each time, which the server takes quoted or not', () => {
    const keys = new Set(Array.from({ length: 1_000 }, () => make()));
    expect(keys.size).toBe(1_000);
    for (const key of keys) {
      expect(parseKey(key, { strict: false, maxLength: 255 })).toEqual({ key });
    }
  });
});

it('makes UUIDv7s that carry their time', () => {
  for (const time of [0, 1_645_557_742_000, Date.now(), 2 ** 48 - 1]) {
    expect(keyTime(uuidv7(time))).toBe(time);
  }
  const before = Date.now();
  const key = uuidv7();
  expect(keyTime(key)).toBeGreaterThanOrEqual(before);
  expect(keyTime(key)).toBeLessThanOrEqual(Date.now());
  expect([uuidv7(1), uuidv7(3), uuidv7(2)].sort().map(keyTime)).toEqual([1, 2, 3]);
});

it('makes UUIDv4s with version and variant', () => {
  for (let n = 0; n < 100; n += 1) {
    expect(uuidv4()).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  }
});

it('begins time keys with the time, for people', () => {
  expect(timeKey()).toMatch(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z-[0-9a-f]{32}$/);
});

describe('the key of a request by its content', () => {
  const url = '/orders';

  it('is the same for the same content, however its members are ordered', async () => {
    const key = await contentKey({ url, body: { sku: 'tea', of: { b: [1, 2], a: 1 } } });
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(
      await contentKey({ method: 'post', url, body: { of: { a: 1, b: [1, 2] }, sku: 'tea' } }),
    ).toBe(key);
    class Order {
      of = { a: 1, b: [1, 2] };
      sku = 'tea';
    }
    expect(await contentKey({ url, body: new Order() })).toBe(key);
  });

  it('is another for every other request', async () => {
    const requests = [
      { url },
      { url: '/orders2' },
      { url, method: 'PUT' },
      { url, body: 'tea' },
      { url, body: { n: 1 } },
      { url, body: { n: '1' } },
      { url, body: [1, 2] },
      { url, body: [2, 1] },
      { url, body: {} },
      { url, body: [] },
      { url, body: null },
      { url, body: new Uint8Array([1, 2]) },
      { url, body: new Uint8Array([1, 3]) },
      { url, body: new URLSearchParams({ n: '1' }) },
    ];
    const keys = await Promise.all(requests.map(contentKey));
    expect(new Set(keys).size).toBe(requests.length);
  });

  it('reads bytes wherever they lie', async () => {
    const key = await contentKey({ url, body: new Uint8Array([2, 3]) });
    expect(await contentKey({ url, body: new Uint8Array([1, 2, 3, 4]).subarray(1, 3) })).toBe(key);
    expect(await contentKey({ url, body: new Uint8Array([2, 3]).buffer })).toBe(key);
    expect(await contentKey({ url, body: '\u0002\u0003' })).toBe(key);
  });

  it.each([
    ['a form', new FormData()],
    ['a blob', new Blob(['x'])],
    ['a stream', new ReadableStream()],
    ['a map', new Map([['a', 1]])],
  ])('is refused for %s', async (_, body) => {
    await expect(contentKey({ url, body })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CLIENT_MISUSED',
    });
  });
});
