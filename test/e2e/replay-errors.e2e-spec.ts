import {
  Body,
  Catch,
  Controller,
  HttpException,
  Injectable,
  NotFoundException,
  Param,
  ParseIntPipe,
  Post,
  Res,
  UnprocessableEntityException,
  UseFilters,
  type ArgumentsHost,
  type ExceptionFilter,
  type PipeTransform,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import {
  IdempotencyModule,
  Idempotent,
  memoryStore,
  type FailureInfo,
  type FailureVerdict,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { TestGate } from '../support/gate.js';
import {
  open,
  platforms,
  send,
  startApp,
  type RawResponse,
  type TestApp,
} from '../support/http.js';
import { expectReplay, freshKey, sendTwice } from '../support/replay.js';

const SECRET = 'password=hunter2';
let runs = 0;
let gate: TestGate;
let judged: { error: unknown; info: FailureInfo }[] = [];
let recorded: Buffer[] = [];

interface Reply {
  status(code: number): Reply;
  header(name: string, value: string): Reply;
  send(body?: unknown): Reply;
}

class OutOfStock extends Error {}
class TooBusy extends Error {}

@Catch(OutOfStock, TooBusy)
class DomainFilter implements ExceptionFilter {
  constructor(private readonly adapter: HttpAdapterHost) {}

  catch(error: Error, host: ArgumentsHost): void {
    const status = error instanceof OutOfStock ? 410 : 429;
    const response = host.switchToHttp().getResponse<unknown>();
    this.adapter.httpAdapter.reply(response, { sorry: error.message, run: runs }, status);
  }
}

@Injectable()
class RejectingPipe implements PipeTransform {
  transform(body: { wrong?: boolean }): unknown {
    if (body.wrong === true) {
      throw new UnprocessableEntityException('wrong');
    }
    return body;
  }
}

const VERDICTS: Record<string, () => FailureVerdict> = {
  store: () => 'store',
  release: () => 'release',
  uncertain: () => 'uncertain',
  throws: () => {
    throw new Error('the policy is broken');
  },
};

function fail(status: number): never {
  runs += 1;
  throw new HttpException({ status, run: runs, why: 'ünlucky' }, status);
}

@Controller('errors')
class ErrorsController {
  @Post('release/:status')
  @Idempotent()
  release(@Param('status', ParseIntPipe) status: number): never {
    return fail(status);
  }

  @Post('store-client-errors/:status')
  @Idempotent({ errors: 'store-client-errors' })
  storeClientErrors(@Param('status', ParseIntPipe) status: number): never {
    return fail(status);
  }

  @Post('store-all/:status')
  @Idempotent({ errors: 'store-all' })
  storeAll(@Param('status', ParseIntPipe) status: number): never {
    return fail(status);
  }

  @Post('function')
  @Idempotent({
    errors: (error, info) => {
      judged.push({ error, info });
      return (VERDICTS[(error as Error).message] as () => FailureVerdict)();
    },
  })
  function(@Body() { verdict }: { verdict: string }): never {
    runs += 1;
    throw new NotFoundException(verdict);
  }

  @Post('plain/store-client-errors')
  @Idempotent({ errors: 'store-client-errors' })
  plainStoreClientErrors(): never {
    runs += 1;
    throw new Error(SECRET);
  }

  @Post('plain/store-all')
  @Idempotent({ errors: 'store-all' })
  plainStoreAll(): never {
    runs += 1;
    throw new Error(SECRET);
  }

  @Post('domain/:name')
  @UseFilters(DomainFilter)
  @Idempotent({ errors: 'store-client-errors' })
  domain(@Param('name') name: string): never {
    runs += 1;
    throw name === 'busy' ? new TooBusy(name) : new OutOfStock(name);
  }

  @Post('headers')
  @Idempotent({ errors: 'store-all', replayHeaders: ['X-Request-Cost'] })
  headers(@Res({ passthrough: true }) reply: Reply): never {
    reply.header('Content-Language', 'de').header('X-Request-Cost', '7').header('X-Debug', 'yes');
    return fail(404);
  }

  @Post('piped')
  @Idempotent({ errors: 'store-all' })
  piped(@Body(RejectingPipe) body: object): object {
    runs += 1;
    return { runs, body };
  }

  @Post('answers-and-throws')
  @Idempotent()
  async answersAndThrows(@Res() reply: Reply): Promise<void> {
    runs += 1;
    reply.status(202).send({ runs });
    await Promise.resolve();
    throw new Error('afterwards');
  }

  @Post('answers-and-goes-on')
  @Idempotent()
  async answersAndGoesOn(@Res() reply: Reply): Promise<void> {
    runs += 1;
    reply.send({ runs });
    await gate.pass();
  }

  @Post('answers-twice')
  @Idempotent()
  answersTwice(@Res() reply: Reply): void {
    runs += 1;
    reply.status(202).header('ETag', '"one"').send({ runs });
    try {
      reply.status(500).header('ETag', '"two"').send({ second: true });
    } catch {
      // Express says that the headers have been sent
    }
  }
}

/** What each preset stores; everything else that is thrown is released. */
const STORED = {
  release: [],
  'store-client-errors': [400, 402, 404, 405, 406, 410, 412, 413, 415, 418, 422, 428, 451],
  'store-all': [
    400, 402, 404, 405, 406, 410, 412, 413, 415, 418, 422, 428, 451, 500, 501, 505, 507, 511,
  ],
};
const STATUSES = [...STORED['store-all'], 401, 403, 408, 409, 423, 425, 429, 502, 503, 504];

describe.each(platforms)('a failure on %s', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    const inner = memoryStore();
    const store: IdempotencyStore = Object.assign(Object.create(inner) as IdempotencyStore, {
      complete: (request: Parameters<IdempotencyStore['complete']>[0]) => {
        recorded.push(Buffer.from(request.result ?? []));
        return inner.complete(request);
      },
    });
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store })],
      controllers: [ErrorsController],
    });
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    judged = [];
    recorded = [];
    gate = new TestGate();
  });

  function expectSecondRun(first: RawResponse, again: RawResponse): void {
    expect(again.status).toBe(first.status);
    expect(again.header('idempotent-replayed')).toBeUndefined();
    expect(runs).toBe(2);
  }

  describe.each(Object.entries(STORED))('with errors: %s', (policy, stored) => {
    it.each(STATUSES)('%i', async (status) => {
      const { first, again } = await sendTwice(app, { path: `/errors/${policy}/${status}` });
      expect(first.status).toBe(status);
      expect(first.json()).toEqual({ status, run: 1, why: 'ünlucky' });
      if ((stored as number[]).includes(status)) {
        expectReplay(first, again);
        expect(runs).toBe(1);
      } else {
        expectSecondRun(first, again);
      }
    });
  });

  it('judged by a function: stored', async () => {
    const { first, again } = await sendTwice(app, {
      path: '/errors/function',
      body: { verdict: 'store' },
    });
    expectReplay(first, again);
    expect(runs).toBe(1);
    expect(judged).toEqual([{ error: expect.any(NotFoundException), info: { status: 404 } }]);
  });

  it('judged by a function: released', async () => {
    const { first, again } = await sendTwice(app, {
      path: '/errors/function',
      body: { verdict: 'release' },
    });
    expectSecondRun(first, again);
  });

  it.each(['uncertain', 'throws'])('judged by a function: %s', async (verdict) => {
    const { first, again } = await sendTwice(app, { path: '/errors/function', body: { verdict } });
    expect(first.status).toBe(404);
    expect(again.status).toBe(409);
    expect(again.json()).toMatchObject({ code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN' });
    expect(runs).toBe(1);
  });

  it('that is a plain Error is a 500, and no secret of it is recorded', async () => {
    const stored = await sendTwice(app, { path: '/errors/plain/store-all' });
    expect(stored.first.status).toBe(500);
    expectReplay(stored.first, stored.again);
    expect(runs).toBe(1);
    const record = Buffer.concat(recorded).toString('latin1');
    expect(record).toContain('Internal server error');
    expect(record).not.toContain(SECRET);
    expect(record).not.toMatch(/e2e-spec|stack| at /);
    runs = 0;
    const released = await sendTwice(app, { path: '/errors/plain/store-client-errors' });
    expectSecondRun(released.first, released.again);
  });

  it('that a filter maps is judged by the status it was answered with', async () => {
    const stored = await sendTwice(app, { path: '/errors/domain/stock' });
    expect(stored.first.status).toBe(410);
    expect(stored.first.json()).toEqual({ sorry: 'stock', run: 1 });
    expectReplay(stored.first, stored.again);
    expect(runs).toBe(1);
    runs = 0;
    const released = await sendTwice(app, { path: '/errors/domain/busy' });
    expect(released.first.status).toBe(429);
    expectSecondRun(released.first, released.again);
  });

  it('replays with the headers set before it was thrown', async () => {
    const { first, again } = await sendTwice(app, { path: '/errors/headers' });
    expectReplay(first, again);
    expect([again.header('content-language'), again.header('x-request-cost')]).toEqual(['de', '7']);
    expect([first.header('x-debug'), again.header('x-debug')]).toEqual(['yes', undefined]);
  });

  it('of a pipe is never stored: the same key works with a corrected body', async () => {
    const key = freshKey();
    const path = '/errors/piped';
    expect((await send(app, { path, key, body: { wrong: true } })).status).toBe(422);
    expect((await send(app, { path, key, body: { wrong: true } })).status).toBe(422);
    expect(runs).toBe(0);
    const first = await send(app, { path, key, body: { wrong: false } });
    expect(first.json()).toEqual({ runs: 1, body: { wrong: false } });
    expectReplay(first, await send(app, { path, key, body: { wrong: false } }));
  });

  it('after the handler has answered itself changes nothing', async () => {
    const { first, again } = await sendTwice(app, { path: '/errors/answers-and-throws' });
    expect([first.status, first.text]).toEqual([202, '{"runs":1}']);
    expectReplay(first, again);
    expect(runs).toBe(1);
  });

  it('a handler that has answered and goes on keeps its key', async () => {
    const key = freshKey();
    const path = '/errors/answers-and-goes-on';
    const { response } = open(app, { path, key });
    await gate.reached;
    const early = await send(app, { path, key });
    expect(early.json()).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    gate.open();
    expectReplay(await response, await send(app, { path, key }));
    expect(runs).toBe(1);
  });

  it('a handler that answers twice has answered once', async () => {
    const { first, again } = await sendTwice(app, { path: '/errors/answers-twice' });
    expect([first.status, first.text, first.header('etag')]).toEqual([202, '{"runs":1}', '"one"']);
    expectReplay(first, again);
    expect(runs).toBe(1);
  });
});
