import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Controller, Param, Post, Req, Res, StreamableFile } from '@nestjs/common';
import { concat, defer, from, map, of } from 'rxjs';
import { IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import {
  open,
  platforms,
  send,
  startApp,
  type RawResponse,
  type TestApp,
} from '../support/http.js';
import { freshKey } from '../support/replay.js';

const thisFile = fileURLToPath(import.meta.url);
let runs = 0;
let finished = 0;
let started: () => void;

/** What a handler makes when its client is gone, or of which a part is made before, and the rest after. */
const BEFORE: Record<string, () => unknown> = {
  object: () => ({ runs }),
  nothing: () => undefined,
  error: () => {
    throw new Error('stored');
  },
  observable: () => of({ runs: 0 }, { runs }),
  'file of bytes': () => new StreamableFile(Buffer.from(`run ${runs}`), { type: 'text/x-run' }),
  'file of a stream': () => new StreamableFile(createReadStream(thisFile)),
  'async iterable': async function* () {
    yield `run ${runs}`;
  },
  'web response without a body': () => new Response(null, { status: 202 }),
};

const DURING: Record<string, (gone: Promise<unknown>) => unknown> = {
  promise: (gone) => gone.then(() => ({ runs })),
  observable: (gone) => concat(of(0), from(gone).pipe(map(() => ({ runs })))),
  'deferred observable': (gone) => defer(() => gone.then(() => ({ runs }))),
  'file of a slow stream': (gone) => new StreamableFile(Readable.from(slowly(gone))),
  'file of a slow byte stream': (gone) =>
    new StreamableFile(Readable.from(slowly(gone), { objectMode: false })),
};

async function* slowly(gone: Promise<unknown>): AsyncGenerator<Buffer> {
  yield Buffer.from('run ');
  await gone;
  yield Buffer.from(String(runs));
}

function hangUp(request: { raw?: IncomingMessage }): Promise<unknown> {
  const { socket } = request.raw ?? (request as unknown as IncomingMessage);
  const gone = once(socket, 'close');
  started();
  // later than everybody else who listens
  return gone.then(() => new Promise((resolve) => setImmediate(resolve)));
}

@Controller()
class DisconnectController {
  @Post('before/:name')
  @Idempotent({ errors: 'store-all' })
  async before(@Param('name') name: string, @Req() request: object): Promise<unknown> {
    runs += 1;
    await hangUp(request);
    finished += 1;
    return BEFORE[name]?.();
  }

  @Post('during/:name')
  @Idempotent()
  during(@Param('name') name: string, @Req() request: object): unknown {
    runs += 1;
    return DURING[name]?.(hangUp(request));
  }

  @Post('written')
  @Idempotent()
  async written(@Req() request: object, @Res() reply: { send(body: unknown): void }) {
    runs += 1;
    await hangUp(request);
    reply.send({ runs });
  }

  @Post('piped')
  @Idempotent()
  piped(@Req() request: object, @Res() reply: { raw?: ServerResponse; hijack?: () => void }): void {
    runs += 1;
    reply.hijack?.();
    const response = reply.raw ?? (reply as unknown as ServerResponse);
    Readable.from(slowly(hangUp(request)), { objectMode: false }).pipe(response);
  }
}

describe.each(platforms)('a client of %s hangs up:', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), lease: '600ms' })],
      controllers: [DisconnectController],
    });
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    finished = 0;
  });

  /** Sends a request, hangs up as soon as the handler runs, and retries until there is an answer. */
  async function retryAfterHangUp(path: string): Promise<RawResponse> {
    const key = freshKey();
    const running = new Promise<void>((resolve) => {
      started = resolve;
    });
    const { socket } = open(app, { path: encodeURI(path), key });
    await running;
    socket.destroy();
    for (;;) {
      const retry = await send(app, { path: encodeURI(path), key });
      if (retry.header('retry-after') === undefined) {
        expect(runs).toBe(1);
        return retry;
      }
    }
  }

  it.each([
    ['object', 201, '{"runs":1}'],
    ['nothing', 201, ''],
    ['error', 500, '{"statusCode":500,"message":"Internal server error"}'],
    ['observable', 201, '{"runs":1}'],
    ['file of bytes', 201, 'run 1'],
    ['web response without a body', 202, ''],
  ])('the handler goes on, and the retry gets the %s', async (name, status, text) => {
    const retry = await retryAfterHangUp(`/before/${name}`);
    expect(finished).toBe(1);
    expect([retry.status, retry.text]).toEqual([status, text]);
    expect(retry.header('idempotent-replayed')).toBe('true');
  });

  it('the retry gets a file whole', async () => {
    const retry = await retryAfterHangUp('/before/file of a stream');
    expect(retry.body).toEqual(await readFile(thisFile));
  });

  it.each([
    ['/during/promise', '{"runs":1}'],
    ['/during/observable', '{"runs":1}'],
    ['/during/deferred observable', '{"runs":1}'],
    ['/during/file of a slow stream', 'run 1'],
    ['/during/file of a slow byte stream', 'run 1'],
    ['/written', '{"runs":1}'],
    ['/piped', 'run 1'],
  ])('%s goes on to its end', async (path, text) => {
    const retry = await retryAfterHangUp(path);
    expect(retry.text).toBe(text);
    expect(retry.header('idempotent-replayed')).toBe('true');
  });

  it('Nest does not even begin an async iterable then: the handler has run, its answer is lost', async () => {
    const retry = await retryAfterHangUp('/before/async iterable');
    expect(retry.status).toBe(409);
    expect(retry.json()).toMatchObject({ code: 'IDEMPOTENCY_RESULT_UNAVAILABLE' });
  });
});
