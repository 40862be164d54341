import 'reflect-metadata';
import {
  Controller,
  Inject,
  Injectable,
  Logger,
  Module,
  Post,
  Scope,
  type ModuleMetadata,
  type OnModuleInit,
} from '@nestjs/common';
import { ContextIdFactory, ModuleRef } from '@nestjs/core';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  currentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { platforms, send, startApp } from '../support/http.js';

beforeAll(() => Logger.overrideLogger(false));

let apps: TestingModule[] = [];
let runs: string[] = [];
let keys = 0;
/** A key that no other test has. */
let key = '';

beforeEach(() => {
  runs = [];
  key = `key-${(keys += 1)}`;
});
afterEach(async () => {
  await Promise.all(apps.map((app) => app.close()));
  apps = [];
});

async function start(
  providers: ModuleMetadata['providers'],
  {
    store = memoryStore() as IdempotencyStore,
    ...metadata
  }: ModuleMetadata & { store?: IdempotencyStore } = {},
): Promise<TestingModule> {
  const app = await Test.createTestingModule({
    ...metadata,
    imports: [IdempotencyModule.forRoot({ store }), ...(metadata.imports ?? [])],
    providers: providers ?? [],
  }).compile();
  apps.push(app);
  return app.init();
}

const rejection = (code: string, message = ''): unknown =>
  expect.objectContaining({
    code: `IDEMPOTENCY_${code}`,
    message: expect.stringContaining(message),
  });

describe.each<TestDialect | 'memory'>(['memory', 'sqlite', 'postgres'])(
  'a method with a key, over %s',
  (dialect) => {
    let database: TestDatabase | undefined;
    let dataSource: DataSource | undefined;
    let service: IdempotencyService;

    class Money {
      constructor(readonly cents: number) {}
    }

    @Injectable()
    class Payouts {
      fails = 0;
      result: unknown;
      readonly gate = new TestGate();

      @Idempotent({
        key: (company: string, period: string) => `${company}/${period}`,
        payload: (company: string, period: string, cents: number) => ({ company, period, cents }),
        ttl: '30d',
      })
      async run(
        company: string,
        period: string,
        cents: number,
      ): Promise<{ at: Date; cents: bigint }> {
        runs.push(`${company} ${period} ${cents}`);
        if (runs.length <= this.fails) {
          throw new Error('not today');
        }
        return { at: new Date(cents), cents: BigInt(cents) };
      }

      @Idempotent({ key: (id: string) => id })
      async answer(id: string): Promise<unknown> {
        runs.push(id);
        return this.result;
      }

      @Idempotent({ key: (id: string) => id, scope: (_id: string, tenant?: string) => tenant })
      async scoped(id: string, tenant?: string): Promise<string> {
        runs.push(`${id} ${tenant}`);
        return `${tenant}`;
      }

      @Idempotent({ key: (id: string) => id })
      async held(id: string): Promise<string> {
        runs.push(id);
        await this.gate.pass();
        return 'done';
      }

      @Idempotent({ key: (id: string) => id, errors: 'store-all' })
      async stored(id: string): Promise<never> {
        runs.push(id);
        throw new RangeError('too far');
      }
    }

    let payouts: Payouts;

    beforeAll(async () => {
      database = dialect === 'memory' ? undefined : await createTestDatabase(dialect);
      dataSource = await database?.open({ synchronize: true });
    });
    afterAll(() => database?.drop());
    beforeEach(async () => {
      const store = dataSource ? typeOrmStore({ dataSource }) : memoryStore();
      const app = await Test.createTestingModule({
        imports: [IdempotencyModule.forRoot({ store })],
        providers: [Payouts],
      }).compile();
      apps.push(await app.init());
      payouts = app.get(Payouts);
      service = app.get(IdempotencyService);
    });

    it('runs once, and answers every retry with the first result', async () => {
      const first = await payouts.run(key, '2026-01', 5);
      expect(first).toEqual({ at: new Date(5), cents: 5n });
      expect(await payouts.run(key, '2026-01', 5)).toStrictEqual(first);
      await payouts.run(key, '2026-02', 5);
      expect(runs).toEqual([`${key} 2026-01 5`, `${key} 2026-02 5`]);
    });

    it('keeps its record under the name of its class, with its policies', async () => {
      await payouts.run(key, '2026-01', 5);
      const record = await service.find({ key: `${key}/2026-01`, operation: 'Payouts.run' });
      expect(record).toMatchObject({ state: 'completed', operation: 'Payouts.run', scope: '' });
      const days = ((record?.expiresAt?.getTime() ?? 0) - Date.now()) / 86_400_000;
      expect(days).toBeGreaterThan(29);
    });

    it.each<[string, unknown]>([
      ['undefined', undefined],
      ['a Date', new Date('2026-01-02T03:04:05.678Z')],
      ['a BigInt', 2n ** 80n],
      ['a Map of Sets', new Map([[{ a: 1 }, new Set([3n])]])],
      ['a Buffer', Buffer.from([0, 1, 255])],
      ['all of them', { list: [undefined, { at: new Date(0), raw: Buffer.from('x') }, new Map()] }],
    ])('keeps the type of a result over a replay: %s', async (_name, result) => {
      payouts.result = result;
      expect(await payouts.answer(key)).toBe(result);
      payouts.result = 'another';
      const again = await payouts.answer(key);
      expect(again).toStrictEqual(result);
      expect(Buffer.isBuffer(again)).toBe(Buffer.isBuffer(result));
      expect(runs).toHaveLength(1);
    });

    it.each<[string, () => unknown]>([
      ['an instance of a class', () => new Money(5)],
      ['a function', () => () => 5],
    ])('refuses to replay %s, and never runs again', async (_name, make) => {
      payouts.result = make();
      expect(await payouts.answer(key)).toBe(payouts.result);
      await expect(payouts.answer(key)).rejects.toEqual(
        rejection('RESULT_UNAVAILABLE', 'was carried out, but its response was not kept'),
      );
      expect(runs).toHaveLength(1);
    });

    it('refuses another payload with the same key', async () => {
      await payouts.run(key, '2026-01', 5);
      await expect(payouts.run(key, '2026-01', 6)).rejects.toEqual(rejection('KEY_REUSED'));
      expect(runs).toHaveLength(1);
    });

    it('throws what the method throws, and lets a retry run', async () => {
      payouts.fails = 1;
      await expect(payouts.run(key, '2026-01', 5)).rejects.toThrow('not today');
      await expect(payouts.run(key, '2026-01', 5)).resolves.toMatchObject({ cents: 5n });
      expect(runs).toHaveLength(2);
    });

    it('stores an error where its policy says so', async () => {
      await expect(payouts.stored(key)).rejects.toThrow(RangeError);
      await expect(payouts.stored(key)).rejects.toMatchObject({
        name: 'RangeError',
        message: 'too far',
      });
      expect(runs).toHaveLength(1);
    });

    it('runs once when called ten times at once', async () => {
      const first = payouts.held(key);
      await payouts.gate.reached;
      const others = await Promise.allSettled(Array.from({ length: 9 }, () => payouts.held(key)));
      expect(others.map((it) => it.status === 'rejected' && it.reason)).toEqual(
        Array.from({ length: 9 }, () => rejection('IN_PROGRESS')),
      );
      payouts.gate.open();
      expect(await first).toBe('done');
      expect(await payouts.held(key)).toBe('done');
      expect(runs).toEqual([key]);
    });

    it('keeps scopes apart', async () => {
      const tenants = ['a', 'b', undefined];
      for (const tenant of [...tenants, ...tenants]) {
        expect(await payouts.scoped(key, tenant)).toBe(`${tenant}`);
      }
      expect(runs).toEqual([`${key} a`, `${key} b`, `${key} undefined`]);
    });

    it('joins an outer operation of the same name and key', async () => {
      const operation = { key, operation: 'Payouts.answer' };
      payouts.result = 'inner';
      const outer = await service.execute(operation, async () => ({
        inner: await payouts.answer(key),
      }));
      expect(outer).toEqual({ inner: 'inner' });
      expect(await service.execute(operation, () => 'again')).toEqual(outer);
      expect(await payouts.answer(key)).toEqual(outer);
      expect(runs).toEqual([key]);
      expect((await service.find(operation))?.attemptsStarted).toBe(1);
    });

    it.each<[string, unknown]>([
      ['empty', ''],
      ['missing', undefined],
      ['a number', 5],
      ['too long', 'k'.repeat(4_001)],
    ])('refuses a key that is %s', async (_name, bad) => {
      await expect(payouts.answer(bad as string)).rejects.toEqual(rejection('KEY_INVALID'));
      expect(runs).toEqual([]);
    });
  },
);

describe('calls inside of calls', () => {
  @Injectable()
  class Nested {
    @Idempotent({ key: (id: string) => id })
    async countdown(id: string, from: number): Promise<number> {
      runs.push(`${id} ${from}`);
      return from === 0 ? currentIdempotency().attempt : this.countdown(id, from - 1);
    }

    @Idempotent({ key: (id: string) => id })
    async outer(id: string): Promise<string> {
      runs.push('outer');
      return `outer ${await this.inner(id)}`;
    }

    @Idempotent({ key: (id: string) => id })
    async inner(_id: string): Promise<string> {
      runs.push('inner');
      return 'inner';
    }
  }

  it('a method that calls itself with the same key joins itself', async () => {
    const nested = (await start([Nested])).get(Nested);
    expect(await nested.countdown(key, 2)).toBe(1);
    expect(await nested.countdown(key, 2)).toBe(1);
    expect(runs).toEqual([`${key} 2`, `${key} 1`, `${key} 0`]);
  });

  it('another method with the same key is an operation of its own, kept when the outer one is not', async () => {
    const nested = (await start([Nested])).get(Nested);
    expect(await nested.inner(key)).toBe('inner');
    expect(await nested.outer(key)).toBe('outer inner');
    expect(await nested.outer(key)).toBe('outer inner');
    expect(runs).toEqual(['inner', 'outer']);
  });

  it('currentIdempotency() is the attempt of the innermost operation', async () => {
    @Injectable()
    class Transfers {
      @Idempotent({ key: (id: string) => id, scope: () => 'acme' })
      async send(_id: string): Promise<Record<string, unknown>> {
        await Promise.resolve();
        return this.describe();
      }

      private describe(): Record<string, unknown> {
        const once = currentIdempotency();
        return { key: once.key, scope: once.scope, attempt: once.attempt, child: once.derive('x') };
      }
    }
    const transfers = (await start([Transfers])).get(Transfers);
    expect(await transfers.send(key)).toEqual({
      key,
      scope: 'acme',
      attempt: 1,
      child: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
  });
});

describe('inheritance', () => {
  abstract class Handler {
    @Idempotent({ key: (id: string) => id })
    async handle(id: string): Promise<string> {
      runs.push(`${this.constructor.name} ${id}`);
      return this.constructor.name;
    }
  }

  @Injectable()
  class Billing extends Handler {}

  @Injectable()
  class Shipping extends Handler {}

  it('one key in two classes that inherit a method is two operations', async () => {
    const app = await start([Billing, Shipping]);
    const handlers = [app.get(Billing), app.get(Shipping)];
    for (const handler of [...handlers, ...handlers]) {
      expect(await handler.handle(key)).toBe(handler.constructor.name);
    }
    expect(runs).toEqual([`Billing ${key}`, `Shipping ${key}`]);
  });

  it('an override without the decorator is not protected by itself, and its super call is', async () => {
    @Injectable()
    class Audited extends Handler {
      override async handle(id: string): Promise<string> {
        runs.push('audit');
        return super.handle(id);
      }
    }
    const audited = (await start([Audited])).get(Audited);
    expect(await audited.handle(key)).toBe('Audited');
    expect(await audited.handle(key)).toBe('Audited');
    expect(runs).toEqual(['audit', `Audited ${key}`, 'audit']);
  });

  it('an override with the decorator and a super call is one operation, claimed once', async () => {
    @Injectable()
    class Doubled extends Handler {
      @Idempotent({ key: (id: string) => id })
      override async handle(id: string): Promise<string> {
        runs.push('before');
        return `${await super.handle(id)} ${currentIdempotency().attempt}`;
      }
    }
    const app = await start([Doubled]);
    const doubled = app.get(Doubled);
    expect(await doubled.handle(key)).toBe('Doubled 1');
    expect(await doubled.handle(key)).toBe('Doubled 1');
    expect(runs).toEqual(['before', `Doubled ${key}`]);
    const records = await app.get(IdempotencyService).list();
    expect(records.map((it) => [it.operation, it.attemptsStarted])).toEqual([
      ['Doubled.handle', 1],
    ]);
  });

  it('an override whose super call has another key is two operations', async () => {
    @Injectable()
    class Keyed extends Handler {
      @Idempotent({ key: (id: string) => id })
      override async handle(id: string): Promise<string> {
        return super.handle(`${id}-super`);
      }
    }
    const app = await start([Keyed]);
    await app.get(Keyed).handle(key);
    expect(await app.get(IdempotencyService).list()).toHaveLength(2);
  });

  it('two classes of one name are refused at startup, where they would share records', async () => {
    const other = (): new () => object => {
      @Injectable()
      class Billing extends Handler {}
      return Billing;
    };
    await expect(start([Billing, other()])).rejects.toEqual(
      rejection(
        'MISCONFIGURED',
        '@Idempotent({ key }) on Billing.handle: two classes of this name have such a method.',
      ),
    );
  });

  it('one class in two modules is one operation', async () => {
    @Module({ providers: [Billing] })
    class One {}
    @Module({ providers: [Billing] })
    class Other {}
    const app = await start([], { imports: [One, Other] });
    const here = app.select(One).get(Billing, { strict: true });
    const other = app.select(Other).get(Billing, { strict: true });
    expect(here).not.toBe(other);
    expect([await here.handle(key), await other.handle(key)]).toEqual(['Billing', 'Billing']);
    expect(runs).toHaveLength(1);
  });
});

describe('the decorator', () => {
  it('twice on a method merges its options and claims once', async () => {
    @Injectable()
    class Twice {
      @Idempotent({ key: (id: string) => id, ttl: '2h' })
      @Idempotent({ key: () => 'never this', scope: () => 'acme', ttl: '1h' })
      async run(id: string): Promise<void> {
        runs.push(id);
      }
    }
    const app = await start([Twice]);
    await app.get(Twice).run(key);
    await app.get(Twice).run(key);
    expect(runs).toEqual([key]);
    const [record, ...others] = await app.get(IdempotencyService).list();
    expect(others).toEqual([]);
    expect(record).toMatchObject({ key, scope: 'acme', attemptsStarted: 1 });
    const hours = ((record?.expiresAt?.getTime() ?? 0) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(1.9);
  });

  it('on a static method', async () => {
    class Reports {
      @Idempotent({ key: (id: string) => id })
      static async make(id: string): Promise<string> {
        runs.push(id);
        return this.name;
      }
    }
    await start([]);
    expect([await Reports.make(key), await Reports.make(key)]).toEqual(['Reports', 'Reports']);
    expect(runs).toEqual([key]);
  });

  it('on a route is refused at startup, whichever of the two stands above', async () => {
    @Controller()
    class Above {
      @Post()
      @Idempotent({ key: () => 'key' })
      async place(): Promise<void> {}
    }
    @Controller()
    class Beneath {
      @Idempotent({ key: () => 'key' })
      @Post()
      async place(): Promise<void> {}
    }
    @Idempotent()
    @Controller()
    class OfClass {
      @Post()
      @Idempotent({ key: () => 'key' })
      async place(): Promise<void> {}
    }
    for (const controller of [Above, Beneath, OfClass]) {
      await expect(start([], { controllers: [controller] })).rejects.toEqual(
        rejection(
          'MISCONFIGURED',
          `@Idempotent({ key }) on ${controller.name}.place: it is a route, whose key comes with the request.`,
        ),
      );
    }
  });
});

describe.each(platforms)('in a controller on %s', (platform) => {
  @Injectable()
  class Charges {
    @Idempotent({ key: (order: string) => order })
    async charge(order: string): Promise<string> {
      runs.push(`charge ${order}`);
      return order;
    }
  }

  @Idempotent()
  @Controller('orders')
  class Orders {
    constructor(@Inject(Charges) private readonly charges: Charges) {}

    @Post()
    async place(): Promise<string> {
      runs.push('place');
      return (await this.charges.charge(key)) + (await this.log(key));
    }

    @Idempotent({ key: (order: string) => order })
    async log(order: string): Promise<string> {
      runs.push(`log ${order}`);
      return order;
    }
  }

  it('a method beside idempotent routes, and one that a route calls, have records of their own', async () => {
    const app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [Orders],
      providers: [Charges],
    });
    try {
      const post = async (requestKey: string): Promise<string> =>
        (await send(app, { path: '/orders', key: requestKey, body: {} })).text;
      // the key of the request is the same text as the key of the methods
      expect(await post(key)).toBe(key + key);
      expect(await post(key)).toBe(key + key);
      expect(await post(`${key}-2`)).toBe(key + key);
      expect(runs).toEqual(['place', `charge ${key}`, `log ${key}`, 'place']);
    } finally {
      await app.close();
    }
  });
});

describe('which service protects an instance', () => {
  @Injectable()
  class Payouts {
    @Idempotent({ key: (id: string) => id })
    async run(id: string): Promise<string> {
      runs.push(id);
      return id;
    }
  }

  @Injectable({ scope: Scope.REQUEST })
  class PerRequest extends Payouts {}

  @Injectable({ scope: Scope.TRANSIENT })
  class PerUse extends Payouts {}

  const recorded = async (app: TestingModule): Promise<Set<string | null>> =>
    new Set((await app.get(IdempotencyService).list()).map((it) => it.key));

  it('its own application’s, of several in one process, and in every scope', async () => {
    const all = [PerRequest, PerUse, Payouts];
    const [one, two] = [await start(all), await start(all)];
    for (const [index, app] of [one, two].entries()) {
      await app.get(Payouts).run(`single-${index}`);
      const perRequest = await app.resolve(PerRequest);
      await perRequest.run(`request-${index}`);
      await (await app.resolve(PerRequest, ContextIdFactory.create())).run(`request-${index}`);
      await (await app.resolve(PerUse)).run(`transient-${index}`);
      await (await app.get(ModuleRef).create(Payouts)).run(`created-${index}`);
    }
    expect(await recorded(one)).toEqual(
      new Set(['created-0', 'request-0', 'single-0', 'transient-0']),
    );
    expect(await recorded(two)).toEqual(
      new Set(['created-1', 'request-1', 'single-1', 'transient-1']),
    );
    expect(runs).toHaveLength(8);
  });

  it('its own module’s, of several in one application', async () => {
    const feature = (store: IdempotencyStore): new () => object => {
      @Module({
        imports: [IdempotencyModule.forRoot({ store, isGlobal: false })],
        providers: [Payouts],
      })
      class Feature {}
      return Feature;
    };
    const stores = [memoryStore(), memoryStore()];
    const features = stores.map(feature);
    const app = await Test.createTestingModule({ imports: features }).compile();
    apps.push(await app.init());
    for (const [index, module] of features.entries()) {
      await app.select(module).get(Payouts, { strict: true }).run(`${index}`);
    }
    const kept = await Promise.all(stores.map((store) => store.list({ limit: 10 })));
    expect(kept.map((records) => records.map((it) => it.key))).toEqual([['0'], ['1']]);
  });

  it('the only one that runs, where Nest did not create the instance', async () => {
    const payouts = new Payouts();
    await expect(payouts.run(key)).rejects.toEqual(
      rejection('MISCONFIGURED', 'no IdempotencyModule is running. Import'),
    );
    const one = await start([{ provide: 'payouts', useFactory: () => payouts }]);
    await payouts.run(key);
    await payouts.run(key);
    expect(runs).toEqual([key]);
    expect(await recorded(one)).toEqual(new Set([key]));

    const two = await start([]);
    await expect(payouts.run(key)).rejects.toEqual(
      rejection('MISCONFIGURED', '2 IdempotencyModules are running: which one is meant'),
    );
    await two.close();
    await payouts.run(key);
    expect(runs).toEqual([key]);
    await one.close();
    await expect(payouts.run(key)).rejects.toEqual(rejection('MISCONFIGURED'));
  });

  it('nobody’s before the application is initialised', async () => {
    const app = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      providers: [Payouts],
    }).compile();
    apps.push(app);
    await expect(app.get(Payouts).run(key)).rejects.toEqual(
      rejection('MISCONFIGURED', 'Call `await app.init()`'),
    );
    await expect(new Payouts().run(key)).rejects.toEqual(
      rejection('MISCONFIGURED', 'once the application is initialised'),
    );
    expect(runs).toEqual([]);
    await app.init();
    expect(await app.get(Payouts).run(key)).toBe(key);
  });

  it('is there for the hooks of other modules', async () => {
    @Injectable()
    class Warmup extends Payouts implements OnModuleInit {
      async onModuleInit(): Promise<void> {
        await this.run('warm-up');
      }
    }
    @Module({ providers: [Warmup] })
    class Inner {}
    @Module({ imports: [Inner] })
    class Outer {}
    const app = await start([], { imports: [Outer] });
    expect(await recorded(app)).toEqual(new Set(['warm-up']));
  });

  it('an application that failed to start leaves none behind', async () => {
    const broken = memoryStore();
    broken.init = () => Promise.reject(new Error('no table'));
    await expect(start([], { store: broken })).rejects.toThrow('no table');
    await expect(new Payouts().run(key)).rejects.toEqual(
      rejection('MISCONFIGURED', 'no IdempotencyModule is running'),
    );
  });
});
