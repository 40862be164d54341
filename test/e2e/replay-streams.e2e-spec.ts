import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import {
  Controller,
  Get,
  Param,
  ParseIntPipe,
  Post,
  RequestMethod,
  Res,
  Sse,
  StreamableFile,
} from '@nestjs/common';
import { concat, map, of, Subject, throwError, type Observable } from 'rxjs';
import { IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import { TestGate } from '../support/gate.js';
import {
  eventually,
  open,
  platforms,
  send,
  startApp,
  type RawResponse,
  type TestApp,
} from '../support/http.js';
import { expectReplay, freshKey, sendTwice } from '../support/replay.js';

const LIMIT = 10_000;
const CHUNK = Buffer.alloc(64 * 1024, 'x');
let runs = 0;
let produced = 0;
let gate: TestGate;
let events: Subject<string>;

interface Reply {
  readonly raw?: ServerResponse;
  hijack?(): void;
}

function nodeResponse(reply: Reply): ServerResponse {
  reply.hijack?.();
  return reply.raw ?? (reply as unknown as ServerResponse);
}

/** Many chunks, each made when somebody asks for it. */
function* chunks(count: number): Generator<Buffer> {
  for (let made = 0; made < count; made += 1) {
    produced += CHUNK.length;
    yield CHUNK;
  }
}

@Controller('streams')
class StreamsController {
  @Sse('events', { method: RequestMethod.POST })
  @Idempotent()
  events(): Observable<{ data: string }> {
    runs += 1;
    return events.pipe(map((data) => ({ data })));
  }

  @Sse('events-with-get')
  @Idempotent()
  eventsWithGet(): Promise<Observable<{ data: string }>> {
    runs += 1;
    return Promise.resolve(of({ data: 'one' }, { data: 'two' }, { data: `run ${runs}` }));
  }

  @Sse('failing', { method: RequestMethod.POST })
  @Idempotent()
  failing(): Observable<{ data: string }> {
    runs += 1;
    return concat(
      of({ data: 'one' }),
      throwError(() => new Error('failed')),
    );
  }

  @Post('written-events')
  @Idempotent()
  async writtenEvents(@Res() reply: Reply): Promise<void> {
    runs += 1;
    const response = nodeResponse(reply);
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: one\n\n');
    await gate.pass();
    response.end('data: two\n\n');
  }

  @Post('text/:size')
  @Idempotent({ maxResultBytes: LIMIT })
  text(@Param('size', ParseIntPipe) size: number): string {
    runs += 1;
    return 'x'.repeat(size);
  }

  @Post('file/:chunks')
  @Idempotent({ maxResultBytes: LIMIT })
  file(@Param('chunks', ParseIntPipe) count: number): StreamableFile {
    runs += 1;
    return new StreamableFile(Readable.from(chunks(count), { objectMode: false }));
  }

  @Post('endless')
  @Idempotent({ maxResultBytes: LIMIT })
  endless(): StreamableFile {
    runs += 1;
    async function* slowly(): AsyncGenerator<Buffer> {
      yield CHUNK;
      await gate.pass();
      yield Buffer.from('the end');
    }
    return new StreamableFile(Readable.from(slowly(), { objectMode: false }));
  }

  @Post('iterable/:chunks')
  @Idempotent({ maxResultBytes: LIMIT })
  async *iterable(@Param('chunks', ParseIntPipe) count: number): AsyncGenerator<Buffer> {
    runs += 1;
    await Promise.resolve();
    yield* chunks(count);
  }

  @Post('written/:chunks')
  @Idempotent({ maxResultBytes: LIMIT })
  async written(@Param('chunks', ParseIntPipe) count: number, @Res() reply: Reply): Promise<void> {
    runs += 1;
    const response = nodeResponse(reply);
    for (const chunk of chunks(count)) {
      if (!response.write(chunk)) {
        await once(response, 'drain');
      }
    }
    response.end();
  }

  @Get('ping')
  ping(): string {
    return 'pong';
  }
}

describe.each(platforms)('a response on %s that cannot be kept', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [StreamsController],
    });
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    produced = 0;
    gate = new TestGate();
    events = new Subject();
  });

  function expectUnavailable(retry: RawResponse): void {
    expect(retry.status).toBe(409);
    expect(retry.header('content-type')).toMatch('application/problem+json');
    expect(retry.json()).toMatchObject({ code: 'IDEMPOTENCY_RESULT_UNAVAILABLE' });
    expect(runs).toBe(1);
  }

  it('server-sent events arrive one by one', async () => {
    const key = freshKey();
    const path = '/streams/events';
    const { socket, response } = open(app, { path, key });
    let received = '';
    socket.on('data', (bytes: Buffer) => (received += bytes.toString('latin1')));
    await eventually(() => events.observed, 'the subscription');
    for (const text of ['one', 'two', 'three']) {
      events.next(text);
      await eventually(() => received.includes(`data: ${text}\n`), text);
      expectUnavailable(await send(app, { path, key }));
    }
    events.complete();
    const first = await response;
    expect(first.truncated).toBe(false);
    expect(first.header('content-type')).toBe('text/event-stream');
    expect(first.text).toBe('\nid: 1\ndata: one\n\nid: 2\ndata: two\n\nid: 3\ndata: three\n\n');
    expectUnavailable(await send(app, { path, key }));
  });

  it('server-sent events end when the client hangs up', async () => {
    const key = freshKey();
    const { socket, firstByte } = open(app, { path: '/streams/events', key });
    await firstByte;
    socket.destroy();
    await eventually(() => !events.observed, 'the end of the subscription');
    expectUnavailable(await send(app, { path: '/streams/events', key }));
  });

  it.each([
    ['GET', '/streams/events-with-get', 'data: run 1'],
    ['POST', '/streams/failing', 'event: error'],
  ])('%s %s goes out whole', async (method, path, expected) => {
    const { first, again } = await sendTwice(app, { method, path });
    expect(first.text).toContain('data: one\n');
    expect(first.text).toContain(expected);
    expectUnavailable(again);
  });

  it('events that a handler writes itself arrive at once', async () => {
    const key = freshKey();
    const { firstByte, response } = open(app, { path: '/streams/written-events', key });
    await firstByte;
    gate.open();
    expect((await response).text).toBe('data: one\n\ndata: two\n\n');
    expectUnavailable(await send(app, { path: '/streams/written-events', key }));
  });

  it('a body of the very limit is kept, and one byte more goes out but is not', async () => {
    const kept = await sendTwice(app, { path: `/streams/text/${LIMIT}` });
    expectReplay(kept.first, kept.again);
    runs = 0;
    const { first, again } = await sendTwice(app, { path: `/streams/text/${LIMIT + 1}` });
    expect(first.body).toHaveLength(LIMIT + 1);
    expectUnavailable(again);
  });

  it.each(['file', 'iterable', 'written'])('a large %s goes out byte for byte', async (name) => {
    const { first, again } = await sendTwice(app, { path: `/streams/${name}/20` });
    expect(first.truncated).toBe(false);
    expect(first.body.equals(Buffer.concat(Array<Buffer>(20).fill(CHUNK)))).toBe(true);
    expectUnavailable(again);
  });

  it('a stream beyond the limit flows before it has ended', async () => {
    const key = freshKey();
    const { firstByte, response } = open(app, { path: '/streams/endless', key });
    await firstByte;
    expectUnavailable(await send(app, { path: '/streams/endless', key }));
    gate.open();
    const first = await response;
    expect(first.body.equals(Buffer.concat([CHUNK, Buffer.from('the end')]))).toBe(true);
  });

  it.each(['file', 'iterable', 'written'])(
    'a slow reader holds up the %s instead of filling the memory',
    async (name) => {
      const count = 400;
      const { socket, firstByte, response } = open(app, {
        path: `/streams/${name}/${count}`,
        key: freshKey(),
      });
      await firstByte;
      socket.pause();
      let before = -1;
      await eventually(async () => {
        const stands = produced === before;
        before = produced;
        await send(app, { method: 'GET', path: '/streams/ping' });
        return stands;
      }, 'the producer stops');
      expect(produced).toBeLessThan((count * CHUNK.length) / 2);
      socket.resume();
      const first = await response;
      expect(first.body.length).toBe(count * CHUNK.length);
      expect(runs).toBe(1);
    },
  );
});
