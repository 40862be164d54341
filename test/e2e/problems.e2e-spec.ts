import 'reflect-metadata';
import { jest } from '@jest/globals';
import {
  BadRequestException,
  Body,
  Catch,
  Controller,
  HttpException,
  Injectable,
  Logger,
  Param,
  Post,
  UseFilters,
  UseGuards,
  ValidationPipe,
  type ArgumentsHost,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { IsInt } from 'class-validator';
import fc from 'fast-check';
import {
  CurrentIdempotency,
  Idempotent,
  IDEMPOTENCY_CODES,
  IdempotencyError,
  IdempotencyException,
  IdempotencyModule,
  memoryStore,
  type IdempotencyCode,
  type IdempotencyContext,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { TestGate } from '../support/gate.js';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

let runs = 0;
let gate = new TestGate();

class Order {
  @IsInt()
  amount!: number;
}

/** An application's own way to render errors. */
@Catch(HttpException)
@Injectable()
class HouseFilter implements ExceptionFilter {
  constructor(private readonly adapter: HttpAdapterHost) {}

  catch(error: HttpException, host: ArgumentsHost): void {
    const code = error instanceof IdempotencyException ? error.code : null;
    const body = { error: { message: error.message, code } };
    this.adapter.httpAdapter.reply(host.switchToHttp().getResponse(), body, error.getStatus());
  }
}

/** Rejects with the status that the caller asks for, as guards and throttlers do. */
@Injectable()
class StatusGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    const status = Number(headers['x-reject']);
    if (status > 0) {
      throw new HttpException('rejected', status);
    }
    return headers['x-forbid'] === undefined;
  }
}

@Controller()
class OrdersController {
  @Post('orders')
  @Idempotent()
  place() {
    return { run: (runs += 1) };
  }

  @Post('gated')
  @Idempotent()
  async gated() {
    await gate.pass();
    return { run: (runs += 1) };
  }

  @Post('limited')
  @Idempotent({ maxKeysPerScope: 1, scope: ({ headers }) => String(headers['x-user']) })
  limited() {
    return { run: (runs += 1) };
  }

  @Post('uncertain')
  @Idempotent({ errors: () => 'uncertain' })
  uncertain() {
    runs += 1;
    throw new Error('who knows');
  }

  @Post('large')
  @Idempotent({ maxResultBytes: 10 })
  large() {
    runs += 1;
    return { text: 'x'.repeat(100) };
  }

  @Post('steps')
  @Idempotent()
  async steps(@CurrentIdempotency() once: IdempotencyContext) {
    await once.step(`step of attempt ${once.attempt}`, () => (runs += 1));
    throw new Error('not yet');
  }

  /** What comes about inside of an operation, or while the application closes, is passed on by the handler. */
  @Post('inner/:code')
  @Idempotent()
  inner(@Param('code') code: IdempotencyCode) {
    const retryable = !/BROKEN$|PARKED$|FORBIDDEN$/.test(code);
    throw new IdempotencyError(code, 'It is so.', retryable ? { retryAfterSeconds: 1 } : {});
  }

  @Post('house')
  @UseFilters(HouseFilter)
  @Idempotent()
  house() {
    return { run: (runs += 1) };
  }

  @Post('guarded')
  @UseGuards(StatusGuard)
  @Idempotent({ errors: 'store-all' })
  guarded(@Body(new ValidationPipe()) order: Order) {
    return { run: (runs += 1), amount: order.amount };
  }

  @Post('refusing')
  @Idempotent()
  refusing() {
    runs += 1;
    throw new BadRequestException('not like this');
  }
}

const oldUuid7 = '00000000-0001-7000-8000-000000000000';
const members = ['code', 'detail', 'retryable', 'status', 'title', 'type'];

describe.each(platforms)('problems on %s', (platform) => {
  let store: IdempotencyStore;
  let app: TestApp;
  let key = '';
  let keys = 0;

  beforeAll(async () => {
    store = memoryStore();
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store })],
      controllers: [OrdersController],
    });
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
    gate = new TestGate();
    key = `key-${(keys += 1)}`;
  });
  afterEach(() => gate.open());

  const post = (path: string, more: object = {}): Promise<RawResponse> =>
    send(app, { path, key, body: {}, ...more });

  const lose = (method: 'claim', answer: () => Promise<never>): (() => void) => {
    const original = store[method];
    store[method] = answer;
    return () => {
      store[method] = original;
    };
  };

  /** How each code comes about. */
  const causes: Record<string, () => Promise<RawResponse>> = {
    IDEMPOTENCY_KEY_MISSING: () => post('/orders', { key: undefined }),
    IDEMPOTENCY_KEY_INVALID: () => post('/orders', { key: 'a,b' }),
    IDEMPOTENCY_KEY_REUSED: async () => {
      await post('/orders');
      return post('/orders', { body: { other: 1 } });
    },
    IDEMPOTENCY_IN_PROGRESS: async () => {
      void post('/gated');
      await gate.reached;
      return post('/gated');
    },
    IDEMPOTENCY_OUTCOME_UNCERTAIN: async () => {
      expect((await post('/uncertain')).status).toBe(500);
      return post('/uncertain');
    },
    IDEMPOTENCY_PARKED: () => post('/inner/IDEMPOTENCY_PARKED'),
    IDEMPOTENCY_RESULT_UNAVAILABLE: async () => {
      expect((await post('/large')).json()).toEqual({ text: 'x'.repeat(100) });
      return post('/large');
    },
    IDEMPOTENCY_KEY_EXPIRED: () => post('/orders', { key: oldUuid7 }),
    IDEMPOTENCY_STORE_UNAVAILABLE: async () => {
      const restore = lose('claim', () => Promise.reject(new Error('canary-driver-text')));
      return post('/orders').finally(restore);
    },
    IDEMPOTENCY_RECORD_UNREADABLE: async () => {
      await post('/orders');
      const { claim } = store;
      store.claim = async (request) => {
        const result = await claim.call(store, request);
        return result.type === 'held'
          ? { ...result, record: { ...result.record, result: Buffer.from('garbage') } }
          : result;
      };
      return post('/orders').finally(() => {
        store.claim = claim;
      });
    },
    IDEMPOTENCY_REPLAY_FORBIDDEN: () => post('/inner/IDEMPOTENCY_REPLAY_FORBIDDEN'),
    IDEMPOTENCY_TOO_MANY_KEYS: async () => {
      const headers = [['x-user', `ann-${keys}`]];
      expect((await post('/limited', { headers })).status).toBe(201);
      return post('/limited', { headers, key: `${key}-2` });
    },
    IDEMPOTENCY_SHUTTING_DOWN: () => post('/inner/IDEMPOTENCY_SHUTTING_DOWN'),
    IDEMPOTENCY_TRANSACTION_BROKEN: () => post('/inner/IDEMPOTENCY_TRANSACTION_BROKEN'),
    IDEMPOTENCY_TRANSACTION_CONFLICT: () => post('/inner/IDEMPOTENCY_TRANSACTION_CONFLICT'),
    IDEMPOTENCY_STEPS_CHANGED: async () => {
      expect((await post('/steps')).status).toBe(500);
      return post('/steps');
    },
    IDEMPOTENCY_MISCONFIGURED: () =>
      post('/orders', { body: '<a/>', headers: [['content-type', 'application/xml']] }),
  };

  const statuses: [code: string, status: number, retryable: boolean][] = [
    ['IDEMPOTENCY_KEY_MISSING', 400, false],
    ['IDEMPOTENCY_KEY_INVALID', 400, false],
    ['IDEMPOTENCY_KEY_REUSED', 422, false],
    ['IDEMPOTENCY_IN_PROGRESS', 409, true],
    ['IDEMPOTENCY_OUTCOME_UNCERTAIN', 409, false],
    ['IDEMPOTENCY_PARKED', 409, false],
    ['IDEMPOTENCY_REPLAY_FORBIDDEN', 403, false],
    ['IDEMPOTENCY_RESULT_UNAVAILABLE', 409, false],
    ['IDEMPOTENCY_KEY_EXPIRED', 409, false],
    ['IDEMPOTENCY_TOO_MANY_KEYS', 429, true],
    ['IDEMPOTENCY_STORE_UNAVAILABLE', 503, true],
    ['IDEMPOTENCY_RECORD_UNREADABLE', 500, false],
    ['IDEMPOTENCY_SHUTTING_DOWN', 503, true],
    ['IDEMPOTENCY_TRANSACTION_BROKEN', 500, false],
    ['IDEMPOTENCY_TRANSACTION_CONFLICT', 503, true],
    ['IDEMPOTENCY_STEPS_CHANGED', 500, false],
    // Fastify answers a body of an unknown type itself
    ...(platform === 'express'
      ? ([['IDEMPOTENCY_MISCONFIGURED', 500, false]] as [string, number, boolean][])
      : []),
  ];

  it('are all of them told here', () => {
    expect(Object.keys(causes).sort()).toEqual([...IDEMPOTENCY_CODES].sort());
  });

  it.each(statuses)('%s is answered %i', async (code, status, retryable) => {
    const response = await (causes[code] as () => Promise<RawResponse>)();
    const before = runs;
    const problem = response.json<Record<string, unknown>>();
    expect(Object.keys(problem).sort()).toEqual(members);
    expect(problem).toMatchObject({ code, status, retryable });
    expect(problem.title).toEqual(expect.stringMatching(/^[A-Z].+[^.]$/));
    expect(problem.detail).toEqual(expect.stringMatching(/^[A-Z].+\.$/));
    expect(problem.type).toBe(
      `https://www.npmjs.com/package/nestjs-idempotency#${code.toLowerCase()}`,
    );
    expect(response.status).toBe(status);
    expect(response.header('content-type')).toBe('application/problem+json');
    expect(response.header('content-length')).toBe(String(response.body.length));
    const retryAfter = response.header('retry-after');
    expect(retryAfter !== undefined && /^[1-9]\d*$/.test(retryAfter)).toBe(retryable);
    expect(response.text).not.toMatch(/canary|key-\d/);
    expect(runs).toBe(before);
  });

  it('are told to the log as well, where the code of the handler has to be changed', async () => {
    const errors: unknown[] = [];
    const error = jest
      .spyOn(Logger.prototype, 'error')
      .mockImplementation((text) => void errors.push(text));
    try {
      const { status } = await post('/inner/IDEMPOTENCY_MISCONFIGURED');
      expect(status).toBe(500);
      expect(errors).toEqual(['OrdersController.inner: IDEMPOTENCY_MISCONFIGURED. It is so.']);
    } finally {
      error.mockRestore();
    }
  });

  it('are rendered by an application’s own filter its way', async () => {
    const response = await post('/house', { key: undefined });
    expect(response.status).toBe(400);
    expect(response.json()).toEqual({
      error: {
        message: expect.stringContaining('needs an Idempotency-Key'),
        code: 'IDEMPOTENCY_KEY_MISSING',
      },
    });
    expect(response.header('content-type')).toBe('application/json; charset=utf-8');
    await post('/house');
    const reused = await post('/house', { body: { other: 1 } });
    expect([reused.status, reused.json()]).toMatchObject([
      422,
      { error: { code: 'IDEMPOTENCY_KEY_REUSED' } },
    ]);
  });

  describe('rejections before the handler leave the key as good as new', () => {
    it.each([401, 403, 429, 400, 404, 503])('a guard that answers %i', async (status) => {
      const rejected = await post('/guarded', {
        body: { amount: 1 },
        headers: [['x-reject', String(status)]],
      });
      expect(rejected.status).toBe(status);
      expect((await store.list({ limit: 1_000 })).filter((it) => it.key === key)).toEqual([]);
      const corrected = await post('/guarded', { body: { amount: 2 } });
      expect(corrected.json()).toEqual({ run: 1, amount: 2 });
      expect(corrected.header('idempotent-replayed')).toBeUndefined();
    });

    it('a guard that answers false', async () => {
      const rejected = await post('/guarded', {
        body: { amount: 1 },
        headers: [['x-forbid', '1']],
      });
      expect(rejected.status).toBe(403);
      expect((await post('/guarded', { body: { amount: 2 } })).status).toBe(201);
    });

    it('a failed validation, whatever the policy for errors', async () => {
      expect((await post('/guarded', { body: { amount: 'many' } })).status).toBe(400);
      expect((await post('/guarded', { body: { amount: 'many' } })).status).toBe(400);
      expect(runs).toBe(0);
      const corrected = await post('/guarded', { body: { amount: 2 } });
      expect(corrected.json()).toEqual({ run: 1, amount: 2 });
      expect((await post('/guarded', { body: { amount: 2 } })).text).toBe(corrected.text);
      expect((await post('/guarded', { body: { amount: 3 } })).status).toBe(422);
    });

    it('a guard that rejects a retry answers instead of the record', async () => {
      const first = await post('/guarded', { body: { amount: 2 } });
      const headers = [['x-reject', '403']];
      const revoked = await post('/guarded', { body: { amount: 2 }, headers });
      expect([revoked.status, revoked.text.includes('run')]).toEqual([403, false]);
      expect((await post('/guarded', { body: { amount: 2 } })).text).toBe(first.text);
      expect(runs).toBe(1);
    });

    it('a handler that refuses releases by default', async () => {
      expect((await post('/refusing')).status).toBe(400);
      expect((await post('/refusing')).status).toBe(400);
      expect(runs).toBe(2);
    });
  });

  describe('a record that cannot be read', () => {
    /** Answers every duplicate with what `tamper` makes of the stored bytes. */
    const tampered = async (
      tamper: (stored: Uint8Array) => Uint8Array | null,
      part: 'result' | 'fingerprint' = 'result',
    ): Promise<RawResponse> => {
      const { claim } = store;
      store.claim = async (request) => {
        const answer = await claim.call(store, request);
        if (answer.type === 'claimed') {
          return answer;
        }
        const changed = tamper(answer.record[part] as Uint8Array);
        return { ...answer, record: { ...answer.record, [part]: changed } };
      };
      return post('/orders').finally(() => {
        store.claim = claim;
      });
    };

    it.each<[string, (stored: Uint8Array) => Uint8Array | null]>([
      ['nothing', () => null],
      ['no bytes', () => new Uint8Array()],
      ['half of it', (stored) => stored.subarray(0, stored.length / 2)],
      ['all but the last byte', (stored) => stored.subarray(0, -1)],
      ['one byte more', (stored) => Buffer.concat([stored, Buffer.of(0)])],
      ['zeros', (stored) => new Uint8Array(stored.length)],
      ['a later version', (stored) => Buffer.from(stored).fill(2, 2, 3)],
      ['bytes of another library', () => Buffer.from('{"status":201,"body":"x"}')],
    ])('%s: 500, and nothing runs', async (_name, tamper) => {
      const first = await post('/orders');
      const response = await tampered(tamper);
      expect(response.status).toBe(500);
      expect(response.json()).toMatchObject({ code: 'IDEMPOTENCY_RECORD_UNREADABLE' });
      expect(response.header('idempotent-replayed')).toBeUndefined();
      expect(runs).toBe(1);
      expect((await post('/orders')).text).toBe(first.text);
    });

    it('a fingerprint of a later version: 500, and nothing runs', async () => {
      await post('/orders');
      const response = await tampered((it) => Buffer.from(it).fill(9, 0, 1), 'fingerprint');
      expect(response.json()).toMatchObject({ code: 'IDEMPOTENCY_RECORD_UNREADABLE' });
      expect(runs).toBe(1);
    });

    it('flipped bits never give another answer', async () => {
      const first = await post('/orders');
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
            minLength: 1,
            maxLength: 4,
          }),
          async (flips) => {
            let isChanged = false;
            const response = await tampered((stored) => {
              const changed = Buffer.from(stored);
              for (const [position, mask] of flips) {
                const index = position % changed.length;
                changed[index] = (changed[index] as number) ^ mask;
              }
              isChanged = !changed.equals(stored);
              return changed;
            });
            if (isChanged) {
              expect(response.status).toBe(500);
              expect(response.json()).toMatchObject({ code: 'IDEMPOTENCY_RECORD_UNREADABLE' });
            } else {
              expect(response.text).toBe(first.text);
            }
          },
        ),
        { numRuns: 100 },
      );
      expect(runs).toBe(1);
    }, 30_000);
  });

  it('a key that is older than the window is refused, and a fresh one runs', async () => {
    const at = (ms: number): string => {
      const hex = ms.toString(16).padStart(12, '0');
      return `${hex.slice(0, 8)}-${hex.slice(8)}-7abc-8abc-0123456789ab`;
    };
    const day = 24 * 60 * 60 * 1000;
    expect((await post('/orders', { key: at(Date.now() - day - 5_000) })).status).toBe(409);
    expect(runs).toBe(0);
    expect((await post('/orders', { key: at(Date.now() - day + 60_000) })).status).toBe(201);
    expect((await post('/orders', { key: at(Date.now()) })).status).toBe(201);
    expect((await post('/orders', { key: at(Date.now() + day) })).status).toBe(201);
    // a ULID of 2016, in both cases of its letters
    for (const ulid of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', '01arz3ndektsv4rrffq69g5fav']) {
      const response = await post('/orders', { key: ulid });
      expect(response.json()).toMatchObject({ status: 409, code: 'IDEMPOTENCY_KEY_EXPIRED' });
    }
    expect(runs).toBe(3);
  });
});

describe.each(platforms)('keys that carry their time on %s', (platform) => {
  it('replay as long as their outcome is kept, and rerun where the application says so', async () => {
    runs = 0;
    let now = Date.now();
    @Controller('rerun')
    class RerunController {
      @Post()
      @Idempotent({ expiredKeys: 'rerun' })
      place() {
        return { run: (runs += 1) };
      }
    }
    const app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore({ now: () => now }) })],
      controllers: [OrdersController, RerunController],
    });
    try {
      expect((await send(app, { path: '/rerun', key: oldUuid7, body: {} })).status).toBe(201);
      const hex = now.toString(16).padStart(12, '0');
      const key = `${hex.slice(0, 8)}-${hex.slice(8)}-7abc-8abc-0123456789ab`;
      now += 60 * 60 * 1000;
      const first = await send(app, { path: '/orders', key, body: {} });
      expect(first.status).toBe(201);
      // the key is older than 24 h, its outcome is not
      now += 23.5 * 60 * 60 * 1000;
      const again = await send(app, { path: '/orders', key, body: {} });
      expect([again.status, again.text]).toEqual([201, first.text]);
      // and now neither is left
      now += 60 * 60 * 1000;
      const late = await send(app, { path: '/orders', key, body: {} });
      expect(late.json()).toMatchObject({ status: 409, code: 'IDEMPOTENCY_KEY_EXPIRED' });
      expect((await send(app, { path: '/orders', key, body: {} })).status).toBe(409);
      expect(runs).toBe(2);
    } finally {
      await app.close();
    }
  });
});
