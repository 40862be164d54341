import type { ServerResponse } from 'node:http';
import fastifyCompress from '@fastify/compress';
import { Body, Controller, Post, Res } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import compression from 'compression';
import fc from 'fast-check';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import { REPLAYED_HEADERS, isNeverReplayed } from '../../src/http/replayed-headers.js';
import {
  platforms,
  send,
  startApp,
  type AppOptions,
  type Platform,
  type RawResponse,
  type TestApp,
} from '../support/http.js';
import { expectReplay, freshKey, sendTwice } from '../support/replay.js';

const OPTED_IN = ['X-Order-Id', 'Link'];
const LONG_TEXT = 'idempotent '.repeat(1_000);
let runs = 0;

interface Reply {
  header(name: string, value: string | string[]): Reply;
  send(body: unknown): void;
}

@Controller('headers')
class HeadersController {
  @Post()
  @Idempotent({ replayHeaders: OPTED_IN })
  set(@Body() headers: Record<string, string>, @Res({ passthrough: true }) reply: Reply): object {
    runs += 1;
    Object.entries(headers).forEach(([name, value]) => reply.header(name, value));
    return { runs };
  }

  @Post('written')
  @Idempotent({ replayHeaders: OPTED_IN })
  written(@Body() headers: Record<string, string>, @Res() reply: Reply): void {
    runs += 1;
    Object.entries(headers).forEach(([name, value]) => reply.header(name, value));
    reply.send({ runs });
  }

  @Post('long')
  @Idempotent()
  long(): object {
    runs += 1;
    return { runs, text: LONG_TEXT };
  }
}

/** Middleware that does its work when the head goes out, as session middleware does. */
function onHeaders(set: (response: ServerResponse) => void) {
  return (_request: unknown, response: ServerResponse, next: () => void): void => {
    const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
    response.writeHead = ((...args: unknown[]) => {
      set(response);
      return writeHead(...args);
    }) as ServerResponse['writeHead'];
    next();
  };
}

function start(platform: Platform, options: AppOptions) {
  return startApp(
    platform,
    {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [HeadersController],
    },
    options,
  );
}

beforeEach(() => {
  runs = 0;
});

describe.each(platforms)('headers of a replay on %s', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    let served = 0;
    app = await start(platform, {
      configure: (nest) => {
        nest.enableCors({ origin: true, credentials: true, exposedHeaders: 'Idempotent-Replayed' });
        nest.use((_request: unknown, response: ServerResponse, next: () => void) => {
          // what helmet and a rate limiter do
          response.setHeader('X-Content-Type-Options', 'nosniff');
          response.setHeader('RateLimit-Remaining', String(100 - ++served));
          next();
        });
        if (platform === 'fastify') {
          // plug-ins set theirs on Fastify's reply, not on Node's response
          const fastify = (nest as NestFastifyApplication).getHttpAdapter().getInstance();
          fastify.addHook('onRequest', async (_request, reply) => {
            reply.header('X-Plug-In', 'present');
          });
        }
        nest.use(
          onHeaders((response) => response.setHeader('Set-Cookie', [`n=${served}`, 'other=1'])),
        );
      },
    });
  });
  afterAll(() => app.close());

  it.each(['/headers', '/headers/written'])(
    '%s keeps the listed and opted-in ones',
    async (path) => {
      const { first, again } = await sendTwice(app, {
        path,
        body: {
          'Content-Type': 'application/vnd.order+json; charset=utf-8',
          Location: '/orders/1?a=%C3%BC',
          ETag: '"v1"',
          'Content-Language': 'de',
          'Last-Modified': 'Tue, 01 Jan 2030 00:00:00 GMT',
          'Content-Disposition': 'inline',
          'X-Order-Id': '1',
          Link: '</a>; rel="b", </c>; rel="d"',
          'X-Not-Asked-For': 'secret',
        },
      });
      expectReplay(first, again);
      for (const name of [...REPLAYED_HEADERS, ...OPTED_IN]) {
        expect([name, first.header(name)]).not.toEqual([name, undefined]);
        expect([name, again.header(name)]).toEqual([name, first.header(name)]);
      }
      expect(first.header('x-not-asked-for')).toBe('secret');
      expect(again.header('x-not-asked-for')).toBeUndefined();
      expect(runs).toBe(1);
    },
  );

  it.each(['/headers', '/headers/written'])('%s has the new caller’s own others', async (path) => {
    const key = freshKey();
    const from = (origin: string) =>
      send(app, { path, key, body: {}, headers: [['Origin', origin]] });
    const first = await from('https://first.example');
    const again = await from('https://second.example');
    expectReplay(first, again);
    expect(first.header('access-control-allow-origin')).toBe('https://first.example');
    expect(again.header('access-control-allow-origin')).toBe('https://second.example');
    expect(again.header('access-control-expose-headers')).toBe('Idempotent-Replayed');
    expect(again.header('x-content-type-options')).toBe('nosniff');
    expect(again.header('x-plug-in')).toBe(platform === 'fastify' ? 'present' : undefined);
    expect(again.header('set-cookie')).toMatch(/^n=\d+, other=1$/);
    expect(again.header('set-cookie')).not.toBe(first.header('set-cookie'));
    expect(Number(again.header('ratelimit-remaining'))).toBe(
      Number(first.header('ratelimit-remaining')) - 1,
    );
    expect(again.header('content-length')).toBe(String(again.body.length));
    expect(again.header('date')).toBeDefined();
  });

  it('drops every header that is not on the list', async () => {
    const name = fc.oneof(
      fc.stringMatching(/^x-[a-z][a-z0-9-]{0,20}$/),
      fc.constantFrom('set-cookie', 'retry-after', 'vary', 'access-control-allow-origin'),
      fc.constantFrom('x-ratelimit-limit', 'ratelimit', 'www-authenticate', 'cache-control'),
      fc.constantFrom('x-request-id', 'server-timing', 'age', 'expires', 'idempotent-replayed'),
    );
    const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
    const headers = fc.dictionary(name, value, { minKeys: 1, maxKeys: 5 });
    const kept = new Set([...REPLAYED_HEADERS, ...OPTED_IN.map((opted) => opted.toLowerCase())]);
    await fc.assert(
      fc.asyncProperty(headers, async (given) => {
        const { first, again } = await sendTwice(app, { path: '/headers', body: given });
        expect(again.body).toEqual(first.body);
        for (const [sent, content] of Object.entries(given)) {
          if (!kept.has(sent)) {
            expect(again.header(sent) ?? '').not.toBe(
              sent === 'idempotent-replayed' ? '' : content,
            );
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  it('never counts a header of the caller or the moment as opted in', () => {
    for (const name of ['Set-Cookie', 'Date', 'Connection', 'Content-Encoding', 'RateLimit']) {
      expect(isNeverReplayed(name)).toBe(true);
      expect(() => Idempotent({ replayHeaders: [name] })({}, 'x', { value() {} })).toThrow(name);
    }
  });
});

describe.each(platforms)('compression on %s', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await start(platform, {
      configure: async (nest) => {
        if (platform === 'express') {
          nest.use(compression({ threshold: 0 }));
        } else {
          await (nest as NestFastifyApplication).register(fastifyCompress, { threshold: 0 });
        }
      },
    });
  });
  afterAll(() => app.close());

  const ENCODINGS = ['gzip', 'br', 'identity'];
  it.each(ENCODINGS.flatMap((one) => ENCODINGS.map((other) => [one, other])))(
    'first %s, then %s: the same bytes to whoever decodes them',
    async (one, other) => {
      const key = freshKey();
      const accepting = (encoding: string) =>
        send(app, { path: '/headers/long', key, headers: [['Accept-Encoding', encoding]] });
      const first = await accepting(one as string);
      const again = await accepting(other as string);
      expect(first.header('content-encoding') ?? 'identity').toBe(one);
      expect([other, undefined]).toContain(again.header('content-encoding'));
      expect(JSON.parse(decoded(first).toString())).toEqual({ runs: 1, text: LONG_TEXT });
      expect(decoded(again)).toEqual(decoded(first));
      expect(again.header('idempotent-replayed')).toBe('true');
      expect(again.header('content-type')).toBe(first.header('content-type'));
      expect(runs).toBe(1);
    },
  );
});

function decoded({ body, header }: RawResponse): Buffer {
  switch (header('content-encoding')) {
    case 'gzip':
      return gunzipSync(body);
    case 'br':
      return brotliDecompressSync(body);
    default:
      return body;
  }
}
