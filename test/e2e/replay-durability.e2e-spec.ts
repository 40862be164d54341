import type { ServerResponse } from 'node:http';
import {
  applyDecorators,
  Controller,
  Get,
  Head,
  Injectable,
  Options,
  Post,
  Redirect,
  RequestTimeoutException,
  Res,
  StreamableFile,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { throwError, timeout, type Observable } from 'rxjs';
import {
  CurrentIdempotency,
  IdempotencyModule,
  Idempotent,
  memoryStore,
  type IdempotencyContext,
  type IdempotencyStore,
} from 'nestjs-idempotency';
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

const LEASE_MS = 30_000;
let runs = 0;
let clock = Date.now();
let handling: TestGate;

/** A real store, some of whose methods a test watches or disturbs on their way. */
function probed(probes: (inner: IdempotencyStore) => Partial<IdempotencyStore>): IdempotencyStore {
  const inner = memoryStore({ now: () => clock });
  return Object.assign(Object.create(inner) as IdempotencyStore, probes(inner));
}

@Controller('work')
class WorkController {
  @Post('object')
  @Idempotent()
  object(): object {
    runs += 1;
    return { runs };
  }

  @Post('written')
  @Idempotent()
  written(@Res() reply: { send(body: unknown): void }): void {
    runs += 1;
    reply.send(`run ${runs}`);
  }

  @Post('file')
  @Idempotent()
  file(): StreamableFile {
    runs += 1;
    return new StreamableFile(Buffer.from(`run ${runs}`));
  }

  @Post('redirected')
  @Redirect('/elsewhere')
  @Idempotent()
  redirected(): void {
    runs += 1;
  }

  @Post('failed')
  @Idempotent({ errors: 'store-all' })
  failed(): void {
    runs += 1;
    throw new Error('failed');
  }

  /** The first attempt waits; all others are quick. */
  @Post('first-waits')
  @Idempotent({ lease: LEASE_MS })
  async firstWaits(@CurrentIdempotency() once: IdempotencyContext): Promise<object> {
    runs += 1;
    const run = runs;
    if (once.attempt === 1) {
      await handling.pass();
    }
    return { run, attempt: once.attempt };
  }

  @Post('first-fails')
  @Idempotent({ lease: LEASE_MS })
  async firstFails(@CurrentIdempotency() once: IdempotencyContext): Promise<object> {
    runs += 1;
    if (once.attempt === 1) {
      await handling.pass();
      throw new Error('too late');
    }
    return { attempt: once.attempt };
  }

  /** The first attempt streams more than is kept, and goes on after it has been told to stop. */
  @Post('first-streams')
  @Idempotent({ lease: LEASE_MS, maxResultBytes: 10 })
  async firstStreams(
    @CurrentIdempotency() once: IdempotencyContext,
    @Res() reply: { raw?: ServerResponse; hijack?: () => void },
  ): Promise<void> {
    runs += 1;
    reply.hijack?.();
    const response = reply.raw ?? (reply as unknown as ServerResponse);
    if (once.attempt === 1) {
      response.write('12345');
      await handling.pass();
      for (let chunk = 0; chunk < 10; chunk += 1) {
        response.write('67890');
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    response.end('end');
  }

  @Get('ping')
  ping(): string {
    return 'pong';
  }
}

function start(platform: (typeof platforms)[number], store: IdempotencyStore): Promise<TestApp> {
  return startApp(platform, {
    imports: [IdempotencyModule.forRoot({ store })],
    controllers: [WorkController],
  });
}

function codeOf(response: RawResponse): unknown {
  return response.json<{ code?: string }>().code;
}

beforeEach(() => {
  runs = 0;
  handling = new TestGate();
});

describe.each(platforms)('the record on %s', (platform) => {
  let completing = new TestGate();
  let app: TestApp;
  beforeAll(async () => {
    app = await start(
      platform,
      probed((inner) => ({
        complete: async (request) => {
          await completing.pass();
          return inner.complete(request);
        },
      })),
    );
  });
  afterAll(() => app.close());

  it.each(['object', 'written', 'file', 'redirected', 'failed'])(
    'is durable before the first byte of the %s response',
    async (name) => {
      completing = new TestGate();
      const path = `/work/${name}`;
      const key = freshKey();
      const { socket, firstByte, response } = open(app, { path, key });
      await completing.reached;
      // whatever had been sent before would be here by now
      await send(app, { method: 'GET', path: '/work/ping' });
      expect(socket.bytesRead).toBe(0);
      completing.open();
      await firstByte;
      const again = await send(app, { path, key });
      expectReplay(await response, again);
      expect(runs).toBe(1);
    },
  );
});

describe.each(platforms)(
  'when the store is away while the outcome is recorded, on %s,',
  (platform) => {
    let failures = 0;
    let app: TestApp;
    beforeAll(async () => {
      app = await start(
        platform,
        probed((inner) => ({
          complete: (request) =>
            failures-- > 0 ? Promise.reject(new Error('connection lost')) : inner.complete(request),
        })),
      );
    });
    afterAll(() => app.close());

    it('the client gets its result, and its retry too, once it is recorded', async () => {
      failures = 3;
      const path = '/work/object';
      const key = freshKey();
      const first = await send(app, { path, key });
      expect([first.status, first.text]).toEqual([201, '{"runs":1}']);
      expect(codeOf(await send(app, { path, key }))).toBe('IDEMPOTENCY_IN_PROGRESS');
      let again = first;
      await eventually(async () => {
        again = await send(app, { path, key });
        return again.status === 201;
      }, 'the record');
      expectReplay(first, again);
      expect(runs).toBe(1);
    });
  },
);

describe.each(platforms)('an owner on %s that outlived its lease', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await start(
      platform,
      probed(() => ({})),
    );
  });
  afterAll(() => app.close());

  /** Starts the first attempt and lets its lease run out while it works. */
  async function startLate(path: string): Promise<{ key: string; late: Promise<RawResponse> }> {
    const key = freshKey();
    const late = send(app, { path, key });
    await handling.reached;
    clock += LEASE_MS + 1;
    return { key, late };
  }

  it('answers with the outcome of its successor', async () => {
    const { key, late } = await startLate('/work/first-waits');
    const winner = await send(app, { path: '/work/first-waits', key });
    expect(winner.json()).toEqual({ run: 2, attempt: 2 });
    handling.open();
    expectReplay(winner, await late);
    expectReplay(winner, await send(app, { path: '/work/first-waits', key }));
    expect(runs).toBe(2);
  });

  it('answers with the outcome of its successor when it failed itself', async () => {
    const { key, late } = await startLate('/work/first-fails');
    const winner = await send(app, { path: '/work/first-fails', key });
    handling.open();
    expectReplay(winner, await late);
    expect(runs).toBe(2);
  });

  it('answers with the outcome of its successor in the middle of a stream', async () => {
    const { key, late } = await startLate('/work/first-streams');
    const winner = await send(app, { path: '/work/first-streams', key });
    handling.open();
    expectReplay(winner, await late);
    expect(winner.text).toBe('end');
    // it is still writing
    expect((await send(app, { method: 'GET', path: '/work/ping' })).text).toBe('pong');
  });

  it('records its outcome all the same where it has no successor', async () => {
    const { key, late } = await startLate('/work/first-waits');
    handling.open();
    const first = await late;
    expect(first.json()).toEqual({ run: 1, attempt: 1 });
    expectReplay(first, await send(app, { path: '/work/first-waits', key }));
    expect(runs).toBe(1);
  });
});

@Injectable()
class Timeout implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const withTimeout = { each: 20, with: () => throwError(() => new RequestTimeoutException()) };
    return next.handle().pipe(timeout(withTimeout));
  }
}

const PLACES = ['above', 'below', 'class', 'module', 'global'] as const;

describe.each(platforms.flatMap((platform) => PLACES.map((place) => ({ platform, place }))))(
  'a timeout on $platform bound at $place',
  ({ platform, place }) => {
    let claiming = new TestGate();
    let app: TestApp;
    beforeAll(async () => {
      const at = (here: string) => (here === place ? [UseInterceptors(Timeout)] : []);
      // applied in this order, and so written from the bottom to the top
      const idempotent = applyDecorators(...at('below'), Idempotent(), ...at('above'));

      @Controller('slow')
      @applyDecorators(...at('class'))
      class SlowController {
        @idempotent
        @Post('success')
        async success(): Promise<object> {
          runs += 1;
          await handling.pass();
          return { runs };
        }

        @idempotent
        @Post('failure')
        async failure(): Promise<object> {
          runs += 1;
          await handling.pass();
          throw new Error('failed');
        }

        @idempotent
        @Post('written')
        async written(@Res() reply: { sent?: boolean; headersSent?: boolean }): Promise<void> {
          runs += 1;
          await handling.pass();
          // it would write now, but for the answer that has gone out
          expect(reply.sent ?? reply.headersSent).toBe(true);
        }
      }
      const store = probed((inner) => ({
        claim: async (request) => {
          await claiming.pass();
          return inner.claim(request);
        },
      }));
      app = await startApp(
        platform,
        {
          imports: [IdempotencyModule.forRoot({ store })],
          controllers: [SlowController],
          providers: place === 'module' ? [{ provide: APP_INTERCEPTOR, useClass: Timeout }] : [],
        },
        {
          configure: (nest) =>
            void (place === 'global' && nest.useGlobalInterceptors(new Timeout())),
        },
      );
    });
    afterAll(() => app.close());
    beforeEach(() => claiming.open());

    it.each(['success', 'written'])(
      'answers at once; the key stays with the running handler (%s), whose result nobody saw',
      async (name) => {
        const path = `/slow/${name}`;
        const key = freshKey();
        expect((await send(app, { path, key })).status).toBe(408);
        expect(codeOf(await send(app, { path, key }))).toBe('IDEMPOTENCY_IN_PROGRESS');
        handling.open();
        let retry: RawResponse | undefined;
        await eventually(async () => {
          retry = await send(app, { path, key });
          return codeOf(retry) !== 'IDEMPOTENCY_IN_PROGRESS';
        }, 'the end of the handler');
        expect(codeOf(retry as RawResponse)).toBe('IDEMPOTENCY_RESULT_UNAVAILABLE');
        expect(runs).toBe(1);
      },
    );

    it('gives the key back when the handler fails after all', async () => {
      const key = freshKey();
      expect((await send(app, { path: '/slow/failure', key })).status).toBe(408);
      handling.open();
      await eventually(
        async () => (await send(app, { path: '/slow/failure', key })).status === 500,
        'a second run',
      );
      expect(runs).toBe(2);
    });

    it('runs nothing when it fires before the claim', async () => {
      claiming = new TestGate();
      const key = freshKey();
      expect((await send(app, { path: '/slow/success', key })).status).toBe(408);
      expect(runs).toBe(0);
      claiming.open();
      handling.open();
      let next: RawResponse | undefined;
      await eventually(async () => {
        next = await send(app, { path: '/slow/success', key });
        return next.status !== 409;
      }, 'the end of the abandoned claim');
      expect(next?.json()).toEqual({ runs: 1 });
    });
  },
);

@Controller('class')
@Idempotent()
class ClassController {
  @Get()
  get(): object {
    runs += 1;
    return { runs };
  }

  @Head('head')
  head(): void {
    runs += 1;
  }

  @Options()
  options(): object {
    runs += 1;
    return { runs };
  }

  @Post()
  post(): object {
    runs += 1;
    return { runs };
  }
}

describe.each(platforms)('a decorated class on %s', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [ClassController],
    });
  });
  afterAll(() => app.close());

  it.each([
    ['GET', '/class'],
    ['HEAD', '/class'],
    ['HEAD', '/class/head'],
    ['OPTIONS', '/class'],
  ])('leaves %s %s alone', async (method, path) => {
    expect((await send(app, { method, path })).status).toBe(200);
    const { first, again } = await sendTwice(app, { method, path });
    expect([first.status, again.status]).toEqual([200, 200]);
    expect(again.header('idempotent-replayed')).toBeUndefined();
    expect(runs).toBe(3);
  });

  it('protects its POST routes', async () => {
    expect((await send(app, { path: '/class' })).status).toBe(400);
    const { first, again } = await sendTwice(app, { path: '/class' });
    expectReplay(first, again);
    expect(runs).toBe(1);
  });
});
