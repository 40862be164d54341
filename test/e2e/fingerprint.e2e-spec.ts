import 'reflect-metadata';
import {
  All,
  Body,
  Controller,
  Injectable,
  Param,
  Post,
  VersioningType,
  type INestApplication,
  type PipeTransform,
} from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { TestGate } from '../support/gate.js';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

let runs = 0;
let gate = new TestGate();

const ran = (): { run: number } => ({ run: (runs += 1) });

/** Changes the body in place, as some pipes do. */
@Injectable()
class MutatingPipe implements PipeTransform {
  transform(body: { amount?: number }): object {
    body.amount = (body.amount ?? 0) + Math.random();
    return body;
  }
}

@Controller('orders')
class OrdersController {
  @Post()
  @Idempotent()
  place() {
    return ran();
  }

  @All('any/:id')
  @Idempotent()
  any(@Param('id') id: string) {
    return { ...ran(), id };
  }

  @Post('slow')
  @Idempotent()
  async slow() {
    const answer = ran();
    await gate.pass();
    return answer;
  }

  @Post('mutated')
  @Idempotent()
  mutated(@Body(MutatingPipe) body: Record<string, unknown>) {
    body.changed = Math.random();
    delete body.note;
    return ran();
  }

  @Post('body-only')
  @Idempotent({ fingerprint: ['body'] })
  bodyOnly() {
    return ran();
  }

  @Post('header')
  @Idempotent({ fingerprint: ['path', 'header:X-Tenant'] })
  header() {
    return ran();
  }

  @Post('function')
  @Idempotent({
    fingerprint: async ({ method, path, query, body }) => {
      await Promise.resolve();
      return [method, path, query.length, (body as { amount: number }).amount];
    },
  })
  byFunction() {
    return ran();
  }

  @Post('throwing')
  @Idempotent({
    fingerprint: () => {
      throw new Error('no fingerprint');
    },
  })
  throwing() {
    return ran();
  }
}

@Controller({ path: 'versioned', version: ['1', '2'] })
class VersionedController {
  @Post()
  @Idempotent()
  place() {
    return ran();
  }
}

const JSON_TYPE = ['content-type', 'application/json'] as const;
const REUSED = { status: 422, code: 'IDEMPOTENCY_KEY_REUSED' };

describe.each(platforms)('what a retry must repeat, on %s', (platform) => {
  let app: TestApp;
  let key = 0;

  beforeAll(async () => {
    app = await startApp(
      platform,
      {
        imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
        controllers: [OrdersController],
      },
      { configure: allowLargeBodies },
    );
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    gate = new TestGate();
    key += 1;
  });

  const post = (path: string, body?: unknown, more: object = {}): Promise<RawResponse> =>
    send(app, { path, key: `key-${key}`, body, ...more });

  const expectReplay = (response: RawResponse, first: RawResponse): void => {
    expect(response.text).toBe(first.text);
    expect(response.status).toBe(first.status);
    expect(response.header('idempotent-replayed')).toBe('true');
  };

  const expectReuse = (response: RawResponse): void => {
    expect(response.json()).toMatchObject(REUSED);
    expect(response.status).toBe(422);
    expect(response.header('content-type')).toBe('application/problem+json');
    expect(response.header('idempotent-replayed')).toBeUndefined();
  };

  describe('another request with the same key is turned away, and the original still replays', () => {
    const original = { path: '/orders/any/1?a=1&b=2', body: { amount: 5 } };
    it.each([
      ['body', { body: { amount: 6 } }],
      ['no body', { body: undefined }],
      ['path', { path: '/orders?a=1&b=2' }],
      ['path parameter', { path: '/orders/any/2?a=1&b=2' }],
      ['query value', { path: '/orders/any/1?a=1&b=3' }],
      ['query name', { path: '/orders/any/1?a=1&c=2' }],
      ['one more query parameter', { path: '/orders/any/1?a=1&b=2&b=2' }],
      ['no query', { path: '/orders/any/1' }],
      ['method', { method: 'PUT' }],
    ])('%s', async (_name, change) => {
      const request = { key: `key-${key}`, ...original };
      const first = await send(app, request);
      expectReuse(await send(app, { ...request, ...change }));
      expectReuse(await send(app, { ...request, ...change }));
      expectReplay(await send(app, request), first);
      expect(runs).toBe(1);
    });
  });

  it('also while the first is in flight', async () => {
    const first = post('/orders/slow', { amount: 1 });
    await gate.reached;
    expectReuse(await post('/orders/slow', { amount: 2 }));
    expectReuse(await post('/orders', { amount: 1 }));
    gate.open();
    expect((await first).json()).toEqual({ run: 1 });
    expectReplay(await post('/orders/slow', { amount: 1 }), await first);
    expect(runs).toBe(1);
  });

  describe('is the same request', () => {
    it.each([
      ['member order', '{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}'],
      ['white space', '{"a":[1,2]}', ' {\n\t"a" : [ 1 , 2 ] } '],
      ['number notation', '{"a":100}', '{"a":1e2}'],
      ['string escapes', '{"a":"é/"}', '{"a":"\\u00e9\\/"}'],
    ])('%s', async (_name, one, other) => {
      const first = await post('/orders', one, { headers: [JSON_TYPE] });
      expect(first.status).toBe(201);
      expectReplay(await post('/orders', other, { headers: [JSON_TYPE] }), first);
    });

    it('query order', async () => {
      const first = await post('/orders?b=2&a=1&a=0', {});
      expectReplay(await post('/orders?a=1&b=2&a=0', {}), first);
    });

    it('other headers, charset and agent', async () => {
      const first = await post('/orders', '{}', { headers: [JSON_TYPE] });
      const headers = [
        ['content-type', 'application/json; charset=utf-8'],
        ['user-agent', 'other'],
        ['x-request-id', '2'],
      ];
      expectReplay(await post('/orders', '{}', { headers }), first);
    });
  });

  describe('is another request', () => {
    it.each([
      ['1 and "1"', '{"a":1}', '{"a":"1"}'],
      ['[] and {}', '{"a":[]}', '{"a":{}}'],
      ['absent and null', '{}', '{"a":null}'],
      ['false and null', '{"a":false}', '{"a":null}'],
      ['0 and false', '{"a":0}', '{"a":false}'],
      ['"" and null', '{"a":""}', '{"a":null}'],
      ['element order', '{"a":[1,2]}', '{"a":[2,1]}'],
      ['nesting', '{"a":[[1],2]}', '{"a":[[1,2]]}'],
      ['name and value', '{"a":"b","c":"d"}', '{"a":"d","c":"b"}'],
      ['text that looks like JSON', '{"a":"[1]"}', '{"a":[1]}'],
      ['case', '{"a":"x"}', '{"a":"X"}'],
      ['composed and decomposed', '{"a":"é"}', '{"a":"e\u0301"}'],
    ])('%s', async (_name, one, other) => {
      const first = await post('/orders', one, { headers: [JSON_TYPE] });
      expect(first.status).toBe(201);
      expectReuse(await post('/orders', other, { headers: [JSON_TYPE] }));
      expect(runs).toBe(1);
    });

    it("the order of one query parameter's values", async () => {
      await post('/orders?a=1&a=0', {});
      expectReuse(await post('/orders?a=0&a=1', {}));
    });
  });

  describe('large and hostile bodies', () => {
    it('counts the last of many bytes', async () => {
      const body = (end: string): object => ({ text: 'x'.repeat(1_500_000) + end });
      const first = await post('/orders', body('a'));
      expectReuse(await post('/orders', body('b')));
      expectReplay(await post('/orders', body('a')), first);
    });

    it.each([
      ['arrays', '['.repeat(200_000) + ']'.repeat(200_000)],
      ['objects', '{"a":'.repeat(200_000) + '1' + '}'.repeat(200_000)],
    ])('200,000 levels of %s are refused, and nothing runs', async (_name, body) => {
      const response = await post('/orders', body, { headers: [JSON_TYPE] });
      expect(response.status).toBe(400);
      expect(response.json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_INVALID' });
      expect(runs).toBe(0);
      // and the server is still there, with the key as good as new
      expect((await post('/orders', {})).json()).toEqual({ run: 1 });
    });

    it('takes members named like parts of an object', async () => {
      const one = '{"constructor":1,"hasOwnProperty":2,"toJSON":3,"length":4}';
      const first = await post('/orders', one, { headers: [JSON_TYPE] });
      expectReplay(await post('/orders', one, { headers: [JSON_TYPE] }), first);
      const other = one.replace('3', '"3"');
      expectReuse(await post('/orders', other, { headers: [JSON_TYPE] }));
    });
  });

  it('is what came in, whatever pipes and handler do to it', async () => {
    const body = { amount: 1, note: 'n' };
    const first = await post('/orders/mutated', body);
    expectReplay(await post('/orders/mutated', body), first);
    expectReuse(await post('/orders/mutated', { amount: 1 }));
    expect(runs).toBe(1);
  });

  describe('fingerprint', () => {
    it('of named parts drops the others', async () => {
      const first = await post('/orders/body-only?a=1', { amount: 1 });
      expectReplay(await post('/orders/body-only?a=2', { amount: 1 }), first);
      expectReuse(await post('/orders/body-only?a=1', { amount: 2 }));
    });

    it('of a header takes its value', async () => {
      const of = (tenant: string, body: object): Promise<RawResponse> =>
        post('/orders/header', body, {
          headers: [['x-tenant', tenant], JSON_TYPE],
          body: JSON.stringify(body),
        });
      const first = await of('one', { amount: 1 });
      expectReplay(await of('one', { amount: 2 }), first);
      expectReuse(await of('two', { amount: 1 }));
      expectReuse(await post('/orders/header', {}));
    });

    it('by a function takes what it answers', async () => {
      const first = await post('/orders/function?a=1', { amount: 1, note: 'first' });
      expectReplay(await post('/orders/function?a=2', { amount: 1, note: 'again' }), first);
      expectReuse(await post('/orders/function?a=1', { amount: 2, note: 'first' }));
      expectReuse(await post('/orders/function', { amount: 1 }));
    });

    it('by a function that throws runs nothing', async () => {
      const response = await post('/orders/throwing', {});
      expect(response.status).toBe(500);
      expect(runs).toBe(0);
    });
  });
});

describe.each(platforms)('global prefix and versions on %s', (platform) => {
  it('are part of the path', async () => {
    runs = 0;
    const app = await startApp(
      platform,
      {
        imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
        controllers: [VersionedController],
      },
      {
        configure: (it) => {
          it.setGlobalPrefix('api');
          it.enableVersioning({ type: VersioningType.URI });
        },
      },
    );
    try {
      const first = await send(app, { path: '/api/v1/versioned', key: 'k', body: {} });
      const again = await send(app, { path: '/api/v1/versioned', key: 'k', body: {} });
      const other = await send(app, { path: '/api/v2/versioned', key: 'k', body: {} });
      expect([first.status, again.text]).toEqual([201, first.text]);
      expect(other.json()).toMatchObject(REUSED);
      expect(runs).toBe(1);
    } finally {
      await app.close();
    }
  });
});

/** Both platforms stop at 100 KB or 1 MB by default. */
function allowLargeBodies(app: INestApplication): void {
  if (app.getHttpAdapter().getType() === 'fastify') {
    (app as NestFastifyApplication).useBodyParser('application/json', { bodyLimit: 4_000_000 });
  } else {
    (app as NestExpressApplication).useBodyParser('json', { limit: '4mb' });
  }
}
