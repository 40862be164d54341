import 'reflect-metadata';
import { HttpService } from '@nestjs/axios';
import axios, { AxiosError, type AxiosInstance, type AxiosRequestConfig } from 'axios';
import { firstValueFrom } from 'rxjs';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { idempotentAxios, uuidv4, type IdempotencyOptions } from 'nestjs-idempotency/client';
import { eventually } from '../support/http.js';
import { openKeyShop, type KeyShop } from '../support/key-shop.js';

declare module 'axios' {
  interface AxiosRequestConfig {
    idempotency?: IdempotencyOptions | false;
  }
}

let shop: KeyShop;
let client: AxiosInstance;
let intent: string;

beforeEach(async () => {
  shop = await openKeyShop('express');
  client = idempotentAxios(axios.create({ baseURL: shop.url }));
  intent = uuidv4();
});
afterEach(() => shop.close());

const tea = { sku: 'tea' };
const place = (config?: AxiosRequestConfig) => client.post<{ order: number }>('', tea, config);
const keys = (): Set<string | undefined> => new Set(shop.came.map(({ key }) => key));
const failureOf = (answer: Promise<unknown>): Promise<AxiosError> =>
  answer.then(
    () => Promise.reject(new Error('It did not fail.')),
    (error: AxiosError) => error,
  );

it('is what HttpService of @nestjs/axios asks with', async () => {
  const http = new HttpService(client);
  const cut = shop.line.cutAt('POST /orders', 'answered');
  const { data, headers } = await firstValueFrom(http.post('', tea));
  await cut;
  expect(data).toEqual({ order: 1, sku: 'tea' });
  expect(headers['idempotent-replayed']).toBe('true');
  expect(keys().size).toBe(1);
  expect(shop.orders()).toBe(1);
});

it('gives each request a key of its own, and calls for one intent the same', async () => {
  await Promise.all([place(), place()]);
  expect(keys().size).toBe(2);
  const gate = shop.hold();
  const answers = [1, 2].map(() => place({ idempotency: { intent } }));
  await eventually(() => shop.came.length === 4, 'two requests');
  await delay(50);
  gate.open();
  for (const { data } of await Promise.all(answers)) {
    expect(data.order).toBe(3);
  }
  expect(keys().size).toBe(3);
});

it('retries with Retry-After, and gives up what asks for more than the deadline', async () => {
  shop.gateway({ status: 503, headers: { 'retry-after': '1' } });
  const { data } = await place();
  expect(data.order).toBe(1);
  expect(shop.came[1]!.at - shop.came[0]!.at).toBeGreaterThan(990);
  shop.gateway({ status: 503, headers: { 'retry-after': '60' }, body: 'down' });
  const error = await failureOf(place({ idempotency: { deadline: 5_000 } }));
  expect(error).toBeInstanceOf(AxiosError);
  expect(error.response).toMatchObject({ status: 503, data: 'down' });
});

it.each(['json', 'text', 'arraybuffer'] as const)(
  'retries neither 422 nor an uncertain outcome, read as %s',
  async (responseType) => {
    await place({ idempotency: { key: 'k-1' } });
    const reused = client.post('', {}, { responseType, idempotency: { key: 'k-1' } });
    expect(await failureOf(reused)).toMatchObject({ response: { status: 422 } });
    expect(shop.came).toHaveLength(2);
    const { response } = await failureOf(client.post('/uncertain', {}, { responseType }));
    expect(response?.status).toBe(409);
    expect(shop.came).toHaveLength(4);
    const code = 'IDEMPOTENCY_OUTCOME_UNCERTAIN';
    if (responseType === 'json') expect(response?.data).toMatchObject({ code });
    else expect(Buffer.from(response?.data as string).toString()).toContain(code);
  },
);

it('retries a conflict that says it passes, also where every status is welcome', async () => {
  const headers = { 'content-type': 'application/problem+json' };
  shop.gateway({ status: 409, headers, body: '{"retryable":true}' });
  expect((await place({ validateStatus: () => true })).status).toBe(201);
  shop.gateway({ status: 503, headers, body: '{"retryable":false}' });
  expect((await place({ validateStatus: () => true })).status).toBe(503);
});

it('gives up with the error of axios when nobody answers, and keeps the key of the intent', async () => {
  const gate = shop.hold();
  const since = performance.now();
  const error = await failureOf(place({ idempotency: { intent, deadline: 300 } }));
  expect(performance.now() - since).toBeLessThan(3_000);
  expect(error).toBeInstanceOf(AxiosError);
  expect(error.code).toBe('ECONNABORTED');
  gate.open();
  expect((await place({ idempotency: { intent } })).data.order).toBe(1);
  expect(keys().size).toBe(1);
});

it.each([
  ['tryTimeout', { idempotency: { tryTimeout: 300 } }],
  ['the time-out of the request', { timeout: 300, idempotency: { tryTimeout: 20_000 } }],
])('retries a try that took longer than %s', async (_, config) => {
  const gate = shop.hold();
  const answer = place(config);
  await eventually(() => shop.came.length === 2, 'a retry');
  gate.open();
  expect((await answer).data.order).toBe(1);
  expect(keys().size).toBe(1);
});

it('lets the time-out of the request be longer than that of a try', async () => {
  const gate = shop.hold();
  const answer = place({ timeout: 5_000, idempotency: { tryTimeout: 50 } });
  await gate.reached;
  await delay(400);
  gate.open();
  expect((await answer).data.order).toBe(1);
  expect(shop.came).toHaveLength(1);
});

it('ends a request and a wait by signal, by token, and by unsubscribing', async () => {
  const controller = new AbortController();
  const source = axios.CancelToken.source();
  const answers = { status: 503, headers: { 'retry-after': '20' } };
  shop.gateway(answers, answers, answers);
  const waiting = [place({ signal: controller.signal }), place({ cancelToken: source.token })];
  const failures = Promise.all(waiting.map(failureOf));
  const asked = new HttpService(client).post('', tea).subscribe();
  await eventually(() => shop.came.length === 3, 'three requests');
  await delay(50);
  controller.abort();
  source.cancel();
  asked.unsubscribe();
  for (const error of await failures) {
    expect(axios.isCancel(error)).toBe(true);
  }
  const gate = shop.hold();
  const other = new AbortController();
  const failure = failureOf(place({ signal: other.signal }));
  await gate.reached;
  other.abort();
  expect(axios.isCancel(await failure)).toBe(true);
  expect(shop.came).toHaveLength(4);
});

it('runs interceptors once, and transforms an answer once', async () => {
  const seen: unknown[] = [];
  client.interceptors.request.use((config) => {
    seen.push(config.url);
    return config;
  });
  client.interceptors.response.use((response) => response.data as never);
  shop.gateway({ status: 503 }, { status: 503 });
  expect(await place()).toEqual({ order: 1, sku: 'tea' });
  expect(seen).toEqual(['']);
});

it('keeps the key of a request that an interceptor sends once more', async () => {
  client.interceptors.response.use(undefined, (error: AxiosError) =>
    // as with a new access token
    error.response?.status === 401 ? client.request(error.config!) : Promise.reject(error),
  );
  shop.gateway({ status: 503 }, { status: 401 });
  const { data } = await place({ idempotency: { intent } });
  expect(data).toEqual({ order: 1, sku: 'tea' });
  expect(shop.came).toHaveLength(3);
  expect(keys().size).toBe(1);
  await place({ idempotency: { intent } });
  expect(shop.orders()).toBe(2);
});

it('keeps the key when a page to log in answers after a try without an answer', async () => {
  const params = { 'a b': 'ü c', d: ['e', 'f'] };
  const cut = shop.line.cutAt('POST /orders', 'answered');
  const first = place({ params, idempotency: { intent } });
  await cut;
  shop.gateway({ status: 302, headers: { location: '/orders' } });
  expect((await first).data).toEqual({ orders: 1 });
  const { headers } = await place({ params, idempotency: { intent } });
  expect(headers['idempotent-replayed']).toBe('true');
  expect(shop.orders()).toBe(1);
});

it('knows its own address again, however it is written', async () => {
  const params = { 'a b': "ü c'", d: ['e', 'f'] };
  // no header tells that it is the outcome
  shop.gateway({ status: 503 }, { status: 200 });
  await place({ params, idempotency: { intent } });
  await place({ params, idempotency: { intent } });
  expect(keys().size).toBe(2);
});

it('leaves alone what changes nothing, and what is told to be left alone', async () => {
  shop.gateway({ status: 503 }, { status: 503 });
  expect((await failureOf(client.get(''))).response?.status).toBe(503);
  expect((await failureOf(place({ idempotency: false }))).response?.status).toBe(503);
  expect(shop.came.map(({ key }) => key)).toEqual([undefined, undefined]);
});

it('keeps the adapter that a request brings along', async () => {
  const calls: unknown[] = [];
  const { data } = await place({
    adapter: async (config) => {
      calls.push(config.data);
      return { status: 200, statusText: '', data: '{"order":7}', headers: {}, config };
    },
  });
  expect(data).toEqual({ order: 7 });
  expect(calls).toEqual(['{"sku":"tea"}']);
});

it('sends forms again, and refuses bodies that are streams', async () => {
  const form = new FormData();
  form.set('n', '1');
  shop.gateway({ status: 503 }, { status: 204 });
  expect((await client.post('/echo', form)).status).toBe(204);
  const stream = Readable.from(['{"n":1}']);
  const refused = { code: 'IDEMPOTENCY_BODY_NOT_REPEATABLE' };
  await expect(client.post('/echo', stream)).rejects.toMatchObject(refused);
  expect(shop.came).toHaveLength(2);
  // becomes a stream on its way out: it is sent once
  shop.gateway({ status: 503 });
  await expect(client.postForm('/echo', { n: 1 })).rejects.toMatchObject({
    ...refused,
    cause: { response: { status: 503 } },
  });
});

it('does not retry what was never sent', async () => {
  await expect(client.post('ftp://127.0.0.1/', tea, { baseURL: '' })).rejects.toThrow('ftp');
  await expect(place({ idempotency: { deadline: 0 } })).rejects.toMatchObject({
    code: 'IDEMPOTENCY_CLIENT_MISUSED',
  });
  const large = place({ maxBodyLength: 3, idempotency: { deadline: 2_000 } });
  expect(await failureOf(large)).toMatchObject({ code: 'ERR_BAD_REQUEST' });
  expect(shop.came).toEqual([]);
});

it('is installed once', () => {
  expect(() => idempotentAxios(client)).toThrow('Call it once');
});
