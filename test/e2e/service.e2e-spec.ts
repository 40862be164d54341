import 'reflect-metadata';
import { Controller, HttpException, Logger, NotFoundException, Post } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyContext,
  type IdempotencyHooks,
} from 'nestjs-idempotency';
import { TestGate } from '../support/gate.js';
import { platforms, send, startApp } from '../support/http.js';
import { availableStores, startServiceApp, type ServiceApp } from '../support/service-app.js';

const DAY = 24 * 60 * 60 * 1000;

beforeAll(() => Logger.overrideLogger(false));

describe.each(availableStores('memory', 'sqlite', 'postgres'))(
  'IdempotencyService over %s',
  (dialect) => {
    let stage: ServiceApp;
    let service: IdempotencyService;
    let key = '';
    let keys = 0;
    let runs = 0;

    beforeAll(async () => {
      stage = await startServiceApp(dialect);
      ({ service } = stage);
    });
    afterAll(() => stage.close());
    beforeEach(() => {
      runs = 0;
      key = `${dialect}-key-${(keys += 1)}`;
    });

    const ran =
      <T>(value: T) =>
      (): T => {
        runs += 1;
        return value;
      };

    class Money {
      constructor(readonly cents: number) {}
    }

    describe('execute()', () => {
      it.each<[string, unknown]>([
        ['undefined', undefined],
        ['null', null],
        ['false', false],
        ['an empty string', ''],
        ['text', 'é\ud800\0'],
        ['-0', -0],
        ['NaN', NaN],
        ['a Date', new Date('2026-01-02T03:04:05.678Z')],
        ['a BigInt', 2n ** 80n],
        [
          'a Map',
          new Map<unknown, unknown>([
            ['a', 1],
            [2, new Set([3])],
          ]),
        ],
        ['a Set', new Set([1, 'a', null])],
        ['a Buffer', Buffer.from([0, 1, 255])],
        ['bytes', new Uint8Array([1, 2, 3])],
        ['a RegExp', /a+/gi],
        ['an array with holes', [1, undefined, , 3]], // eslint-disable-line no-sparse-arrays
        [
          'a deep object',
          { a: { at: new Date(0), n: 1n, list: [undefined, { b: Buffer.from('x') }] } },
        ],
      ])('answers a retry with the same value of the same type: %s', async (_name, value) => {
        expect(await service.execute({ key }, ran(value))).toBe(value);
        const again = await service.execute({ key }, ran('another'));
        expect(again).toStrictEqual(value);
        expect(Buffer.isBuffer(again)).toBe(Buffer.isBuffer(value));
        expect(runs).toBe(1);
      });

      it('keeps a cycle', async () => {
        const self: { self?: unknown } = {};
        self.self = self;
        await service.execute({ key }, ran(self));
        const again = await service.execute<{ self?: unknown }>({ key }, ran({}));
        expect(again.self).toBe(again);
      });

      it.each<[string, () => unknown]>([
        ['an instance of a class', () => new Money(5)],
        ['one inside plain data', () => ({ price: new Money(5) })],
        ['a function', () => () => 1],
        ['a symbol', () => Symbol('x')],
        ['an error', () => new Error('x')],
      ])('gives %s whole to the first caller, and never runs again', async (_name, make) => {
        const value = make();
        expect(await service.execute({ key }, ran(value))).toBe(value);
        await expect(service.execute({ key }, ran(value))).rejects.toMatchObject({
          code: 'IDEMPOTENCY_RESULT_UNAVAILABLE',
        });
        expect((await service.find({ key }))?.state).toBe('tombstone');
        expect(runs).toBe(1);
      });

      it('likewise what is larger than maxResultBytes', async () => {
        const text = 'x'.repeat(1_000);
        expect(await service.execute({ key, maxResultBytes: 100 }, ran(text))).toBe(text);
        const again = service.execute({ key, maxResultBytes: 100 }, ran(text));
        await expect(again).rejects.toMatchObject({ code: 'IDEMPOTENCY_RESULT_UNAVAILABLE' });
        expect(runs).toBe(1);
      });

      it('throws what the work throws, and lets a retry run by default', async () => {
        const error = new Error('not today');
        const failing = (): never => {
          runs += 1;
          throw error;
        };
        await expect(service.execute({ key }, failing)).rejects.toBe(error);
        expect(await service.execute({ key }, ran('done'))).toBe('done');
        expect(runs).toBe(2);
      });

      it('stores an error where the policy says so, and throws it again', async () => {
        class OutOfStock extends HttpException {
          override readonly name = 'OutOfStock';
        }
        const error = new OutOfStock({ reason: 'none left', left: 0 }, 410);
        const options = { key, errors: 'store-client-errors' } as const;
        const failing = (): never => {
          runs += 1;
          throw error;
        };
        await expect(service.execute(options, failing)).rejects.toBe(error);
        const again = await service.execute(options, failing).catch((it: unknown) => it);
        expect(again).toBeInstanceOf(HttpException);
        const replayed = again as HttpException;
        expect(replayed.getStatus()).toBe(410);
        expect(replayed.getResponse()).toEqual({ reason: 'none left', left: 0 });
        expect([replayed.name, replayed.message]).toEqual(['OutOfStock', error.message]);
        expect(runs).toBe(1);
      });

      it('a plain error under store-all keeps name and message, and no stack of the first run', async () => {
        const options = { key, errors: 'store-all' } as const;
        const failing = (): never => {
          runs += 1;
          throw new RangeError('too far');
        };
        await expect(service.execute(options, failing)).rejects.toThrow(RangeError);
        await expect(service.execute(options, failing)).rejects.toMatchObject({
          name: 'RangeError',
          message: 'too far',
        });
        expect(runs).toBe(1);
      });

      it('a function of the application judges each error', async () => {
        const errors = (error: unknown, { status }: { status: number }) =>
          status === 404 ? 'store' : (error as Error).message === 'maybe' ? 'uncertain' : 'release';
        const failing = (error: Error) => (): never => {
          runs += 1;
          throw error;
        };
        const missing = failing(new NotFoundException('no such thing'));
        await expect(service.execute({ key, errors }, missing)).rejects.toThrow('no such thing');
        await expect(service.execute({ key, errors }, ran(1))).rejects.toThrow('no such thing');
        expect(runs).toBe(1);

        const other = `${key}-uncertain`;
        await expect(
          service.execute({ key: other, errors }, failing(new Error('maybe'))),
        ).rejects.toThrow('maybe');
        await expect(service.execute({ key: other, errors }, ran(1))).rejects.toMatchObject({
          code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN',
        });
        expect(runs).toBe(2);
      });

      it('a judgement that throws leaves the outcome uncertain, and the caller its own error', async () => {
        const errors = (): never => {
          throw new Error('the judge is ill');
        };
        const failing = (): never => {
          throw new Error('the work failed');
        };
        await expect(service.execute({ key, errors }, failing)).rejects.toThrow('the work failed');
        await expect(service.execute({ key, errors }, ran(1))).rejects.toMatchObject({
          code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN',
        });
      });

      it('inside an operation of the same key just runs', async () => {
        const result = await service.execute({ key }, async (outer) => {
          const inner = await service.execute({ key }, (once) => {
            runs += 1;
            return once === outer;
          });
          return { inner, other: await service.execute({ key: `${key}-other` }, ran('other')) };
        });
        expect(result).toEqual({ inner: true, other: 'other' });
        expect(await service.execute({ key }, ran('again'))).toEqual(result);
        expect(runs).toBe(2);
      });

      it('refuses another payload, and takes the same in another order', async () => {
        const pay = (payload: unknown) => service.execute({ key, payload }, ran('paid'));
        await pay({ amount: 5, to: 'bob' });
        await expect(pay({ amount: 6, to: 'bob' })).rejects.toMatchObject({
          code: 'IDEMPOTENCY_KEY_REUSED',
        });
        await expect(pay(undefined)).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
        expect(await pay({ to: 'bob', amount: 5 })).toBe('paid');
        expect(runs).toBe(1);
      });

      it('says so when a payload is nested too deeply, or in a circle', async () => {
        const payload: { self?: unknown } = {};
        payload.self = payload;
        await expect(service.execute({ key, payload }, ran(1))).rejects.toMatchObject({
          code: 'IDEMPOTENCY_KEY_INVALID',
          message: expect.stringContaining('512 levels'),
        });
        expect(runs).toBe(0);
      });

      it('rejects a duplicate in flight, or waits for the first', async () => {
        const gate = new TestGate();
        const first = service.execute({ key }, async () => {
          runs += 1;
          await gate.pass();
          return 'first';
        });
        await gate.reached;
        await expect(service.execute({ key }, ran('second'))).rejects.toMatchObject({
          code: 'IDEMPOTENCY_IN_PROGRESS',
          retryAfterSeconds: expect.any(Number),
        });
        const waiting = service.execute({ key, onConcurrent: 'wait' }, ran('third'));
        gate.open();
        expect([await first, await waiting]).toEqual(['first', 'first']);
        expect(runs).toBe(1);
      });

      it('keeps scopes and operations apart', async () => {
        const names = [
          {},
          { scope: 'a' },
          { scope: 'b' },
          { operation: 'refund' },
          { operation: 'refund', scope: 'a' },
          { operation: 'http' },
        ];
        for (const [index, name] of names.entries()) {
          expect(await service.execute({ key, ...name }, ran(index))).toBe(index);
        }
        for (const [index, name] of names.entries()) {
          expect(await service.execute({ key, ...name }, ran('again'))).toBe(index);
        }
        expect(runs).toBe(names.length);
      });

      it.each<[string, unknown]>([
        ['empty', ''],
        ['too long', 'k'.repeat(4_001)],
        ['no text', 5],
        ['missing', undefined],
      ])('refuses a key that is %s', async (_name, bad) => {
        const execute = service.execute({ key: bad as string }, ran(1));
        await expect(execute).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_INVALID' });
        expect(runs).toBe(0);
      });

      it('refuses a wrong or unknown option with a sentence', async () => {
        const wrong = service.execute({ key, ttl: 'soon' as '1h' }, ran(1));
        await expect(wrong).rejects.toMatchObject({
          code: 'IDEMPOTENCY_MISCONFIGURED',
          message: expect.stringContaining("option 'ttl' is 'soon'"),
        });
        const unknown = service.execute({ key, tll: '1h' } as { key: string }, ran(1));
        await expect(unknown).rejects.toMatchObject({
          message: expect.stringContaining("there is no option 'tll'"),
        });
        expect(runs).toBe(0);
      });
    });

    describe('find(), list() and forget()', () => {
      it('show a record through its life', async () => {
        const gate = new TestGate();
        expect(await service.find({ key, scope: 'me' })).toBeNull();
        const running = service.execute({ key, scope: 'me', ttl: '2h' }, () => gate.pass());
        await gate.reached;
        const live = await service.find({ key, scope: 'me' });
        expect(live).toMatchObject({
          key,
          scope: 'me',
          operation: 'execute',
          state: 'in-progress',
          attemptsStarted: 1,
          attemptsFinished: 0,
          expiresAt: null,
        });
        expect(live?.leaseUntil?.getTime()).toBeGreaterThan(live?.claimedAt.getTime() ?? Infinity);
        // a running attempt is never pulled away
        expect(await service.forget({ key, scope: 'me' })).toBe(false);
        gate.open();
        await running;
        const done = await service.find({ key, scope: 'me' });
        expect(done).toMatchObject({ state: 'completed', attemptsFinished: 1, leaseUntil: null });
        const kept = (done?.expiresAt?.getTime() ?? 0) - Date.now();
        expect(kept).toBeGreaterThan(2 * 3_600_000 - 60_000);
        expect(kept).toBeLessThanOrEqual(2 * 3_600_000 + 1_000);
        expect(Object.keys(done ?? {})).not.toEqual(
          expect.arrayContaining(['fingerprint', 'owner', 'result']),
        );
        expect(await service.find({ key })).toBeNull();
      });

      it('forget() lets the next one run', async () => {
        await service.execute({ key }, ran(1));
        expect(await service.forget({ key })).toBe(true);
        expect(await service.forget({ key })).toBe(false);
        expect(await service.execute({ key }, ran(2))).toBe(2);
        expect(runs).toBe(2);
      });

      it('list() filters by state and scope, page by page', async () => {
        const scope = `list-${key}`;
        for (let index = 0; index < 5; index += 1) {
          await service.execute({ key: `${key}-${index}`, scope }, ran(index));
        }
        await service.execute(
          { key: `${key}-gone`, scope },
          ran(() => 1),
        );
        const all = await service.list({ scope });
        expect(all).toHaveLength(6);
        expect(all.map(({ id }) => id)).toEqual(all.map(({ id }) => id).sort());
        expect(await service.list({ scope, state: 'tombstone' })).toHaveLength(1);
        expect(await service.list({ scope, state: 'uncertain' })).toEqual([]);
        const paged: string[] = [];
        for (let after: string | undefined; ; after = paged.at(-1)) {
          const page = await service.list({
            scope,
            limit: 4,
            ...(after !== undefined && { after }),
          });
          paged.push(...page.map(({ id }) => id));
          if (page.length < 4) {
            break;
          }
        }
        expect(paged).toEqual(all.map(({ id }) => id));
      });

      it.each([0, 1_001, 1.5, NaN])('list() refuses a limit of %d', async (limit) => {
        await expect(service.list({ limit })).rejects.toMatchObject({
          code: 'IDEMPOTENCY_MISCONFIGURED',
          message: expect.stringContaining("'limit'"),
        });
      });
    });
  },
);

describe.each(platforms)('records and hooks of HTTP requests on %s', (platform) => {
  @Controller()
  class HookController {
    @Post('done')
    @Idempotent()
    done() {
      return {};
    }

    @Post('fails')
    @Idempotent()
    fails() {
      throw new Error('fails');
    }

    @Post('uncertain')
    @Idempotent({ errors: () => 'uncertain' })
    uncertain() {
      throw new Error('fails');
    }

    @Post('large')
    @Idempotent({ maxResultBytes: 1 })
    large(@CurrentIdempotency() once: IdempotencyContext) {
      return { attempt: once.attempt };
    }
  }

  const watched = (
    disturb: () => void = () => undefined,
  ): { events: [string, Record<string, unknown>][]; hooks: IdempotencyHooks } => {
    const events: [string, Record<string, unknown>][] = [];
    const hook = (name: string) => (event: object) => {
      events.push([name, event as Record<string, unknown>]);
      disturb();
    };
    const names = [
      'onExecuted',
      'onReplayed',
      'onRejected',
      'onTakenOver',
      'onWaited',
      'onLeaseLost',
      'onReleased',
      'onUncertain',
      'onExpired',
      'onUnprotected',
      'onRecordingFailed',
    ];
    return { events, hooks: Object.fromEntries(names.map((name) => [name, hook(name)])) };
  };

  it('hooks are told what happened, and never a raw key', async () => {
    let now = Date.now();
    const { events, hooks } = watched();
    const store = memoryStore({ now: () => now });
    const app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store, hooks })],
      controllers: [HookController],
    });
    try {
      const service = app.app.get(IdempotencyService);
      const post = async (path: string, key?: string, body: object = {}): Promise<void> => {
        await send(app, { path, ...(key !== undefined && { key }), body });
      };
      const seen = (): unknown[] => {
        const told = events.splice(0);
        expect(JSON.stringify(told)).not.toContain('raw-key');
        for (const [, { record }] of told) {
          expect(record === undefined || /^[0-9a-f]{32}$/.test(record as string)).toBe(true);
        }
        return told.map(([name, { record: _record, ...event }]) => [name, event]);
      };
      const done = 'HookController.done';

      await post('/done', 'raw-key');
      expect(seen()).toEqual([['onExecuted', { handler: done, attempt: 1, stored: true }]]);
      const found = await service.find({ key: 'raw-key' });
      expect(found).toMatchObject({ operation: 'http', state: 'completed', key: 'raw-key' });

      await post('/done', 'raw-key');
      expect(seen()).toEqual([['onReplayed', { handler: done }]]);

      await post('/done', 'raw-key', { other: 1 });
      expect(seen()).toEqual([['onRejected', { handler: done, code: 'IDEMPOTENCY_KEY_REUSED' }]]);

      await post('/done');
      expect(seen()).toEqual([['onRejected', { handler: done, code: 'IDEMPOTENCY_KEY_MISSING' }]]);

      await post('/done', 'raw-key,raw-key');
      expect(seen()).toEqual([['onRejected', { handler: done, code: 'IDEMPOTENCY_KEY_INVALID' }]]);

      await post('/fails', 'raw-key-2');
      expect(seen()).toEqual([['onReleased', { handler: 'HookController.fails', attempt: 1 }]]);

      await post('/uncertain', 'raw-key-3');
      expect(seen()).toEqual([
        ['onUncertain', { handler: 'HookController.uncertain', attempt: 1 }],
      ]);

      await post('/large', 'raw-key-4');
      const large = { handler: 'HookController.large', attempt: 1, stored: false };
      expect(seen()).toEqual([['onExecuted', large]]);

      // a claim whose owner died
      const claim = store.claim.bind(store);
      let abandoned: Parameters<typeof claim>[0] | undefined;
      store.claim = (request) => claim((abandoned = request));
      await post('/done', 'raw-key-5');
      store.claim = claim;
      await service.forget({ key: 'raw-key-5' });
      await claim({ ...(abandoned as NonNullable<typeof abandoned>), owner: 'e'.repeat(32) });
      now += 31_000;
      events.length = 0;
      await post('/done', 'raw-key-5');
      expect(seen()).toEqual([
        ['onTakenOver', { handler: done, attempt: 2 }],
        ['onExecuted', { handler: done, attempt: 2, stored: true }],
      ]);

      now += 2 * DAY;
      expect(await service.deleteExpired()).toBeGreaterThanOrEqual(3);
      expect(seen()).toEqual([['onExpired', { deleted: expect.any(Number) }]]);
      expect(await service.deleteExpired()).toBe(0);
      expect(seen()).toEqual([]);
    } finally {
      await app.close();
    }
  });

  it('a hook that throws, or rejects, disturbs nothing', async () => {
    const { events, hooks } = watched(() => {
      throw new Error('the hook is ill');
    });
    const rejecting = {
      ...hooks,
      onReplayed: (event: object) => {
        events.push(['onReplayed', event as Record<string, unknown>]);
        return Promise.reject(new Error('the hook is ill'));
      },
    };
    const app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), hooks: rejecting })],
      controllers: [HookController],
    });
    try {
      const post = () => send(app, { path: '/done', key: 'k', body: {} });
      expect((await post()).status).toBe(201);
      expect((await post()).header('idempotent-replayed')).toBe('true');
      expect((await send(app, { path: '/done', body: {} })).status).toBe(400);
      expect((await send(app, { path: '/fails', key: 'f', body: {} })).status).toBe(500);
      expect(events.map(([name]) => name)).toEqual([
        'onExecuted',
        'onReplayed',
        'onRejected',
        'onReleased',
      ]);
    } finally {
      await app.close();
    }
  });
});

it('maskKey decides what of a key is written beside its record', async () => {
  const store = memoryStore();
  const app = await Test.createTestingModule({
    imports: [
      IdempotencyModule.forRoot({
        store,
        maskKey: (key) => (key === 'none' ? null : key.slice(0, 2)),
      }),
    ],
  }).compile();
  await app.init();
  const service = app.get(IdempotencyService);
  await service.execute({ key: 'abcdef' }, () => 1);
  await service.execute({ key: 'none' }, () => 2);
  expect((await service.find({ key: 'abcdef' }))?.key).toBe('ab');
  expect((await service.find({ key: 'none' }))?.key).toBeNull();
  expect(await service.execute({ key: 'abcdef' }, () => 'again')).toBe(1);
  await app.close();
});

it('namespace keeps applications apart that share a store', async () => {
  const store = memoryStore();
  const start = async (namespace: string): Promise<TestingModule> => {
    const module = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store, namespace })],
    }).compile();
    return module.init();
  };
  const apps = [await start('one'), await start('two'), await start('one')] as const;
  const [one, two, again] = await Promise.all(
    apps.map(async (app, index) => {
      const service = app.get(IdempotencyService);
      return service.execute({ key: 'k', onConcurrent: 'wait' }, () => index);
    }),
  );
  expect(two).toBe(1);
  expect(again).toBe(one);
  await Promise.all(apps.map((app) => app.close()));
});
