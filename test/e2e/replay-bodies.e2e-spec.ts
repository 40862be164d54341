import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import {
  Controller,
  Get,
  Head,
  Header,
  HttpCode,
  Param,
  Post,
  Put,
  Redirect,
  Render,
  Res,
  StreamableFile,
} from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { concat, EMPTY, of, timer, map } from 'rxjs';
import { IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';
import { expectReplay, freshKey, sendTwice } from '../support/replay.js';

const thisFile = fileURLToPath(import.meta.url);

/** What the tests use of the response of either platform. */
interface Reply {
  status(code: number): Reply;
  header(name: string, value: string): Reply;
  send(body?: unknown): Reply;
  redirect(...args: unknown[]): unknown;
  readonly raw?: NodeResponse;
}
type NodeResponse = import('node:http').ServerResponse;
type Rendered = (error: null, html: string) => void;

let runs = 0;

/** Each answer differs from the one before, so that a second run could not pass for a replay. */
const VALUES: Record<string, () => unknown> = {
  object: () => ({ runs, text: 'grüße 💶', when: new Date(), none: undefined, nan: NaN }),
  array: () => [runs, [], {}, null],
  string: () => `run ${runs} ü`,
  'empty string': () => '',
  number: () => runs,
  zero: () => 0,
  false: () => false,
  true: () => true,
  null: () => null,
  undefined: () => undefined,
  buffer: () => Buffer.from([0, 255, 13, 10, runs]),
  'typed array': () => new Uint8Array([1, 2, runs]),
  'file of bytes': () =>
    new StreamableFile(Buffer.from(`run ${runs} \0\xff`, 'latin1'), {
      type: 'application/x-run',
      disposition: `attachment; filename="run-${runs}.bin"`,
    }),
  'file of a stream': () => new StreamableFile(createReadStream(thisFile), { type: 'text/x-ts' }),
  'file of an empty stream': () => new StreamableFile(Readable.from([])),
  promise: () => Promise.resolve({ runs }),
  'observable of one': () => of({ runs }),
  'observable of several': () => of('first', 'second', { last: runs }),
  'observable of none': () => EMPTY,
  'observable later': () => concat(of(1), timer(5).pipe(map(() => ({ runs })))),
  'promise of an observable': () => Promise.resolve(of({ runs }, { last: runs })),
  'async iterable': async function* () {
    yield `run ${runs}\n`;
    yield { line: 2 };
  },
  'web response': () =>
    new Response(`run ${runs}`, {
      status: 202,
      headers: { 'content-type': 'text/x-web', etag: '"web"', 'x-other': 'no' },
    }),
  'web response of json': () => Response.json({ runs }, { status: 206 }),
  'web response without a body': () => new Response(null, { status: 204 }),
  'web stream': () => new Response(`streamed ${runs}`).body,
};

function raw(response: Reply): NodeResponse {
  return response.raw ?? (response as unknown as NodeResponse);
}

const WRITERS: Record<string, (response: Reply) => unknown> = {
  send: (response) => response.status(202).send({ runs }),
  'send nothing': (response) => response.status(200).send(),
  'send bytes': (response) => response.status(203).send(Buffer.from([runs, 0])),
  redirect: (response) =>
    response.raw === undefined
      ? response.redirect(307, `/elsewhere/${runs}`)
      : response.redirect(`/elsewhere/${runs}`, 307),
};

/** Only Express has these; on Fastify `reply.raw` after `hijack()` is the application's own affair. */
const EXPRESS_WRITERS: Record<string, (response: NodeResponse & Record<string, never>) => unknown> =
  {
    json: (response) => (response as never as { json(value: unknown): void }).json({ runs }),
    end: (response) => response.end(`run ${runs}`),
    'end of nothing': (response) => response.writeHead(204).end(),
    'write and end': (response) => {
      response.setHeader('Content-Type', 'text/x-run');
      response.write('run ');
      response.write('e9', 'hex');
      response.write(Buffer.from([0]), () => response.end(String(runs)));
    },
    'write later': (response) => {
      setTimeout(() => response.write('run '), 5);
      setTimeout(() => response.end(String(runs)), 10);
    },
    pipe: (response) => createReadStream(thisFile).pipe(response),
    'writeHead with an object': (response) =>
      response.writeHead(202, 'Accepted', { 'Content-Type': 'text/x-run' }).end(`run ${runs}`),
    'writeHead with a list': (response) =>
      response
        .writeHead(201, ['Content-Type', 'text/x-run', 'Location', `/runs/${runs}`])
        .end(`run ${runs}`),
    'flush, then write': (response) => {
      response.flushHeaders();
      response.end(`run ${runs}`);
    },
    sendFile: (response) =>
      (response as never as { sendFile(path: string): void }).sendFile(thisFile),
  };

@Controller('answers')
class AnswersController {
  @Post('values/:name')
  @Idempotent()
  value(@Param('name') name: string): unknown {
    runs += 1;
    return VALUES[name]?.();
  }

  @Put('written/:name')
  @Idempotent()
  written(@Param('name') name: string, @Res() response: Reply): void {
    runs += 1;
    WRITERS[name]?.(response);
  }

  @Put('written-by-express/:name')
  @Idempotent()
  writtenByExpress(@Param('name') name: string, @Res() response: never): void {
    runs += 1;
    EXPRESS_WRITERS[name]?.(response);
  }

  @Put('hijacked')
  @Idempotent()
  hijacked(@Res() reply: Reply & { hijack(): void }): void {
    runs += 1;
    reply.hijack();
    raw(reply).writeHead(207, { 'content-type': 'text/x-run' });
    raw(reply).write('run ');
    raw(reply).end(String(runs));
  }

  @Post('no-content')
  @HttpCode(204)
  @Idempotent()
  noContent(): void {
    runs += 1;
  }

  @Post('accepted')
  @HttpCode(202)
  @Header('Content-Type', 'application/vnd.run+json')
  @Header('ETag', '"static"')
  @Idempotent()
  accepted(): object {
    runs += 1;
    return { runs };
  }

  @Post('status')
  @Idempotent()
  status(@Res({ passthrough: true }) response: Reply): object {
    runs += 1;
    response.status(203).header('Location', `/runs/${runs}`);
    return { runs };
  }

  @Post('redirect')
  @Redirect('/always', 303)
  @Idempotent()
  redirect(): void {
    runs += 1;
  }

  @Post('redirect-dynamic')
  @Redirect('/default', 302)
  @Idempotent()
  redirectDynamic(): object {
    runs += 1;
    return { url: `/runs/${runs}`, statusCode: 308 };
  }

  @Get('get')
  @Idempotent()
  get(): object {
    runs += 1;
    return { runs };
  }

  @Head('head')
  @Header('ETag', '"head"')
  @Idempotent()
  head(): object {
    runs += 1;
    return { runs };
  }

  @Post('page')
  @Render('replay-bodies.e2e-spec.ts')
  @Idempotent()
  page(): object {
    runs += 1;
    return { runs };
  }
}

describe.each(platforms)('on %s, a replay is what the first caller received:', (platform) => {
  let app: TestApp;

  beforeAll(async () => {
    app = await startApp(
      platform,
      {
        imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
        controllers: [AnswersController],
      },
      {
        configure: (nest) => {
          if (platform === 'express') {
            // any file will do as a view: the engine does not read it
            const express = nest as NestExpressApplication;
            express.engine('ts', (_path: string, { runs }: { runs: number }, done: Rendered) =>
              done(null, `<p>${runs}</p>`),
            );
            express.setViewEngine('ts');
            express.setBaseViewsDir(import.meta.dirname);
          }
        },
      },
    );
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
  });

  async function replayed(method: string, path: string): Promise<RawResponse> {
    const { first, again } = await sendTwice(app, { method, path: encodeURI(path) });
    expectReplay(first, again);
    expect(runs).toBe(1);
    return first;
  }

  it.each(Object.keys(VALUES))('a handler returns: %s', async (name) => {
    const first = await replayed('POST', `/answers/values/${name}`);
    expect(first.status).toBeGreaterThanOrEqual(200);
    expect(first.status).toBeLessThan(300);
  });

  it.each(Object.keys(WRITERS))('a handler writes the response itself: %s', async (name) => {
    await replayed('PUT', `/answers/written/${name}`);
  });

  it.each([
    ['no-content', 204],
    ['accepted', 202],
    ['status', 203],
    ['redirect', 303],
    ['redirect-dynamic', 308],
  ])('%s is %i', async (path, status) => {
    expect((await replayed('POST', `/answers/${path}`)).status).toBe(status);
  });

  it('a body goes out byte for byte', async () => {
    const bytes = await replayed('POST', '/answers/values/file of bytes');
    expect(bytes.body).toEqual(Buffer.from('run 1 \0\xff', 'latin1'));
    expect(bytes.header('content-type')).toBe('application/x-run');
    expect(bytes.header('content-disposition')).toBe('attachment; filename="run-1.bin"');
    expect(bytes.header('content-length')).toBe('8');
  });

  it('a file goes out whole', async () => {
    const file = await replayed('POST', '/answers/values/file of a stream');
    expect(file.body).toEqual(await readFile(thisFile));
    expect(file.header('content-type')).toBe('text/x-ts');
  });

  it('a GET route that asks for it, and HEAD, whose replay announces no wrong length', async () => {
    await replayed('GET', '/answers/get');
    runs = 0;
    const { first, again } = await sendTwice(app, { method: 'HEAD', path: '/answers/head' });
    expect([first.status, again.status, runs]).toEqual([200, 200, 1]);
    expect(again.header('etag')).toBe(first.header('etag'));
    expect(again.header('idempotent-replayed')).toBe('true');
    expect([undefined, first.header('content-length')]).toContain(again.header('content-length'));
    expect(again.body).toHaveLength(0);
  });

  it('another key runs again', async () => {
    const path = '/answers/values/object';
    await send(app, { path, key: freshKey() });
    await send(app, { path, key: freshKey() });
    expect(runs).toBe(2);
  });

  if (platform === 'express') {
    it.each(Object.keys(EXPRESS_WRITERS))('a handler uses Node’s response: %s', async (name) => {
      await replayed('PUT', `/answers/written-by-express/${name}`);
    });

    it('a rendered view', async () => {
      expect((await replayed('POST', '/answers/page')).text).toBe('<p>1</p>');
    });
  } else {
    it('a handler hijacks the reply', async () => {
      expect((await replayed('PUT', '/answers/hijacked')).text).toBe('run 1');
    });
  }
});
