import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  Body,
  type CanActivate,
  Controller,
  Get,
  Injectable,
  Param,
  Post,
  Req,
  Res,
  UseGuards,
  type INestApplication,
} from '@nestjs/common';
import express from 'express';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type FailurePolicy,
  type IdempotencyContext,
} from 'nestjs-idempotency';
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

let runs = 0;
let goOn: () => void = () => {};
let gate = Promise.resolve();
let isGuarded = false;
let detached: Promise<unknown> | undefined;

function closeGate(): void {
  gate = new Promise((resolve) => {
    goOn = resolve;
  });
}

@Injectable()
class SlowGuard implements CanActivate {
  async canActivate(): Promise<boolean> {
    isGuarded = true;
    await gate;
    return true;
  }
}

/** As tracing and logging decorators do: the function has another name than the property. */
function Wrapped(): MethodDecorator {
  return (_target, _name, descriptor) => {
    const original = descriptor.value as unknown as (...args: unknown[]) => unknown;
    descriptor.value = function (this: unknown, ...args: unknown[]): unknown {
      return original.apply(this, args);
    } as never;
  };
}

const askLater = (() => Promise.resolve('store')) as unknown as FailurePolicy;

@Controller()
class HazardsController {
  constructor(private readonly idempotency: IdempotencyService) {}

  @Get('ping')
  ping() {
    return 'pong';
  }

  @Post('plain/:id')
  @Idempotent()
  plain() {
    runs += 1;
    return { runs };
  }

  @Post('guarded')
  @UseGuards(SlowGuard)
  @Idempotent()
  guarded() {
    runs += 1;
    return { runs };
  }

  @Post('a/:id')
  @Idempotent({ fingerprint: ['body'] })
  bodyOnly() {
    runs += 1;
    return { runs };
  }

  @Post('b/:id')
  @Idempotent({ fingerprint: ['body'] })
  bodyOnlyToo() {
    runs += 1;
    return { runs };
  }

  @Post('f/:id')
  @Idempotent({ fingerprint: ({ body }) => body })
  byFunction(@Param('id') id: string) {
    runs += 1;
    return { runs, id };
  }

  @Post('scoped')
  @Idempotent({ scope: ({ headers }) => ({ name: headers.authorization }) as unknown as string })
  scoped() {
    runs += 1;
    return { runs };
  }

  @Post('callback')
  @Idempotent()
  callback(@Res() reply: { send(body: unknown): void }): void {
    runs += 1;
    void gate.then(() => reply.send({ runs }));
  }

  @Post('wrapped')
  @Idempotent()
  @Wrapped()
  wrapped(@Res() reply: { send(body: unknown): void }): void {
    runs += 1;
    reply.send({ runs });
  }

  @Post('inner/:key')
  @Idempotent({ errors: 'store-all' })
  async inner(@Param('key') key: string) {
    runs += 1;
    return this.idempotency.execute({ key, payload: 1 }, async () => ({ runs }));
  }

  @Post('unprotected/:key')
  outer(@Param('key') key: string, @Body() payload: unknown) {
    return this.idempotency.execute({ key, payload }, async () => ({ runs: (runs += 1) }));
  }

  @Post('slow')
  @Idempotent()
  async slow() {
    runs += 1;
    await gate;
    return { runs };
  }

  @Post('later')
  @Idempotent({ errors: askLater })
  later() {
    runs += 1;
    throw new Error('after the effect');
  }

  @Post('cookies')
  @Idempotent()
  cookies(
    @Req() request: { raw?: unknown },
    @Res() reply: ServerResponse & { raw?: ServerResponse; hijack?(): void },
  ) {
    reply.hijack?.();
    const response = reply.raw ?? reply;
    response.writeHead(201, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']);
    response.end(request.raw === undefined ? 'express' : 'fastify');
  }

  @Post('handed-over')
  @Idempotent()
  handedOver(
    @Req() request: IncomingMessage & { raw?: IncomingMessage },
    @Res() reply: ServerResponse & { raw?: ServerResponse; hijack?(): void },
  ): void {
    reply.hijack?.();
    handOver(request.raw ?? request, reply.raw ?? reply);
  }

  @Post('detached/:key')
  async detached(@Param('key') key: string) {
    return this.idempotency.execute({ key }, async () => {
      runs += 1;
      const again = (): Promise<unknown> =>
        this.idempotency.execute({ key }, async () => ({ runs: (runs += 1) }));
      detached = gate.then(again);
      return { runs };
    });
  }

  @Post('signal')
  @Idempotent()
  signal(@CurrentIdempotency() once: IdempotencyContext) {
    return { aborted: once.signal.aborted };
  }
}

/** Ends the response later than it was asked to, as express-session does while it saves. */
function endsLater(response: ServerResponse): void {
  const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
  response.end = ((...args: unknown[]) => {
    setImmediate(() => end(...args));
    return response;
  }) as never;
}

/** An application of its own gives requests and responses prototypes of its own. */
const handOver = express().use((_request, response) => {
  runs += 1;
  response.status(202).json({ runs, sent: response.headersSent });
});

let before: (request: IncomingMessage, response: ServerResponse) => void = () => {};

function configure(app: INestApplication): void {
  app.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
    before(request, response);
    next();
  });
}

describe.each(platforms)('on %s', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp(
      platform,
      {
        imports: [IdempotencyModule.forRoot({ store: memoryStore(), lease: '500ms' })],
        controllers: [HazardsController],
        providers: [SlowGuard],
      },
      { configure },
    );
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    isGuarded = false;
    gate = Promise.resolve();
    before = () => {};
  });

  const post = (path: string, key: string, body?: unknown): Promise<RawResponse> =>
    send(app, { path, key, body });

  it('a middleware that ends the response later still gets its head on a replay', async () => {
    before = (_, response) => endsLater(response);
    const { first, again } = await sendTwice(app, { path: '/plain/1' });
    expect(first.status).toBe(201);
    expectReplay(first, again);
  });

  it('a request that was answered before its handler began runs nothing and harms nobody', async () => {
    closeGate();
    before = (_, response) => {
      response.statusCode = 503;
      void eventually(() => isGuarded, 'the guard').then(() => response.end('timed out'));
    };
    const answer = await post('/guarded', freshKey());
    expect(answer.text).toBe('timed out');
    goOn();
    before = () => {};
    expect((await send(app, { method: 'GET', path: '/ping' })).text).toBe('pong');
    expect(runs).toBe(0);
  });

  it.each([
    ['/a/1', '/b/1'],
    ['/f/1', '/f/2'],
  ])('a fingerprint without the target: %s is never the answer of %s', async (one, other) => {
    const key = freshKey();
    expect((await post(one, key, { n: 1 })).status).toBe(201);
    expect((await post(other, key, { n: 1 })).status).toBe(422);
    expect((await post(one, key, { n: 1 })).header('idempotent-replayed')).toBe('true');
    expect(runs).toBe(1);
  });

  it('a scope that is no text stops the request instead of being one for everybody', async () => {
    const answer = await send(app, {
      path: '/scoped',
      key: freshKey(),
      headers: [['Authorization', 'Bearer alice']],
    });
    expect(answer.json()).toMatchObject({ status: 500, code: 'IDEMPOTENCY_MISCONFIGURED' });
    expect(runs).toBe(0);
  });

  it('a handler that answers by a callback may do so long after its client has gone', async () => {
    closeGate();
    const key = freshKey();
    const request = open(app, { path: '/callback', key });
    await eventually(() => runs === 1, 'the handler');
    request.socket.destroy();
    // longer than the lease
    for (let busy = 0; busy < 20; busy += 1) {
      expect((await post('/callback', key)).json()).toMatchObject({ retryable: true });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    goOn();
    await eventually(async () => (await post('/callback', key)).status !== 409, 'the answer');
    const retry = await post('/callback', key);
    expect(retry.json()).toEqual({ runs: 1 });
    expect(retry.header('idempotent-replayed')).toBe('true');
  });

  it('a handler that another decorator has wrapped replays what it wrote itself', async () => {
    const { first, again } = await sendTwice(app, { path: '/wrapped' });
    expect(first.json()).toEqual({ runs: 1 });
    expectReplay(first, again);
  });

  it('a handler that hands over to an application of Express replays what that answered', async () => {
    const { first, again } = await sendTwice(app, { path: '/handed-over' });
    expect(first.status).toBe(202);
    expect(first.json()).toEqual({ runs: 1, sent: false });
    expectReplay(first, again);
  });

  it('an inner operation that was in progress is not the recorded outcome of the outer one', async () => {
    closeGate();
    const inner = freshKey();
    const service = app.app.get(IdempotencyService);
    const first = service.execute({ key: inner, payload: 1 }, () => gate.then(() => ({ runs: 7 })));
    const key = freshKey();
    await eventually(
      async () => (await service.find({ key: inner }))?.state === 'in-progress',
      'the inner claim',
    );
    expect((await post(`/inner/${inner}`, key)).status).toBe(409);
    goOn();
    await first;
    expect((await post(`/inner/${inner}`, key)).json()).toEqual({ runs: 7 });
  });

  it('an error of execute() in a plain route has its status', async () => {
    const key = freshKey();
    expect((await post(`/unprotected/${key}`, 'x', { n: 1 })).status).toBe(201);
    expect((await post(`/unprotected/${key}`, 'x', { n: 2 })).status).toBe(422);
  });

  it('what somebody outside answers in the place of a slow handler goes out at once and is not stored', async () => {
    closeGate();
    before = (_, response) => {
      void eventually(() => runs === 1, 'the handler').then(() => {
        response.statusCode = 503;
        response.end('timed out');
      });
    };
    const key = freshKey();
    expect((await post('/slow', key)).text).toBe('timed out');
    before = () => {};
    expect((await post('/slow', key)).status).toBe(409);
    goOn();
    await eventually(
      async () => (await post('/slow', key)).header('retry-after') === undefined,
      'the handler to end',
    );
    expect((await post('/slow', key)).json()).toMatchObject({
      code: 'IDEMPOTENCY_RESULT_UNAVAILABLE',
    });
    expect(runs).toBe(1);
  });

  it('a failure policy that answers no verdict never runs the handler again', async () => {
    const key = freshKey();
    expect((await post('/later', key)).status).toBe(500);
    expect((await post('/later', key)).json()).toMatchObject({
      code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN',
    });
    expect(runs).toBe(1);
  });

  it('header lines that were given twice reach the first client both', async () => {
    const answer = await post('/cookies', freshKey());
    const cookies = answer.rawHeaders.filter(([name]) => name.toLowerCase() === 'set-cookie');
    expect(cookies.map(([, value]) => value)).toEqual(['a=1', 'b=2']);
  });

  it('what goes on after an outcome was recorded is a retry, not a part of it', async () => {
    closeGate();
    const key = freshKey();
    expect((await post(`/detached/${key}`, 'x')).json()).toEqual({ runs: 1 });
    goOn();
    expect(await detached).toEqual({ runs: 1 });
    expect(runs).toBe(1);
  });
});
