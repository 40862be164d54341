import 'reflect-metadata';
import {
  Body,
  Controller,
  Get,
  Head,
  Inject,
  Injectable,
  Module,
  Post,
  Put,
  Scope,
  type DynamicModule,
  type ModuleMetadata,
} from '@nestjs/common';
import { ConfigModule, registerAs } from '@nestjs/config';
import { REQUEST } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
  type IdempotencyOptionsFactory,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { idempotencyMigrations, typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

let runs = 0;
const ran = (): { run: number } => ({ run: (runs += 1) });

@Controller('orders')
class OrdersController {
  @Post()
  @Idempotent()
  place() {
    return ran();
  }
}

const sqlite = (options: object = {}): DynamicModule =>
  TypeOrmModule.forRoot({
    type: 'better-sqlite3',
    database: ':memory:',
    migrations: [...idempotencyMigrations()],
    migrationsRun: true,
    ...options,
  });

@Injectable()
class OptionsService implements IdempotencyOptionsFactory {
  createIdempotencyOptions(): IdempotencyModuleOptions {
    return { header: 'X-Token' };
  }
}

@Module({ providers: [OptionsService], exports: [OptionsService] })
class OptionsModule {}

const idempotencyConfig = registerAs('idempotency', (): IdempotencyModuleOptions => ({
  header: 'X-Token',
}));

beforeEach(() => {
  runs = 0;
});

describe.each(platforms)('the module on %s', (platform) => {
  let app: TestApp | undefined;
  const started = async (metadata: ModuleMetadata): Promise<TestApp> => {
    app = await startApp(platform, metadata);
    return app;
  };
  afterEach(() => app?.close());

  /** One effect, and its replay, with the key in the given header. */
  const expectProtected = async (it: TestApp, header = 'Idempotency-Key'): Promise<void> => {
    const post = (): Promise<RawResponse> =>
      send(it, { path: '/orders', headers: [[header, 'key']] });
    const first = await post();
    const again = await post();
    expect([first.status, again.text]).toEqual([201, first.text]);
    expect(again.header('idempotent-replayed')).toBe('true');
    expect(runs).toBe(1);
  };

  it('needs nothing but a default DataSource', async () => {
    const it = await started({
      imports: [sqlite(), IdempotencyModule.forRoot()],
      controllers: [OrdersController],
    });
    await expectProtected(it);
    const dataSource = it.app.get<DataSource>(getDataSourceToken());
    expect(await dataSource.query('SELECT state FROM idempotency_record')).toEqual([{ state: 1 }]);
  });

  it('takes a named DataSource', async () => {
    const it = await started({
      imports: [
        sqlite({ name: 'ledger' }),
        IdempotencyModule.forRoot({ store: typeOrmStore({ dataSource: 'ledger' }) }),
      ],
      controllers: [OrdersController],
    });
    await expectProtected(it);
  });

  it('takes the DataSource and the options from factories', async () => {
    const it = await started({
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: async () => {
            await new Promise(setImmediate);
            return { type: 'better-sqlite3', database: ':memory:', synchronize: true } as const;
          },
        }),
        IdempotencyModule.forRootAsync({
          imports: [OptionsModule],
          inject: [OptionsService],
          useFactory: async (options: OptionsService) => options.createIdempotencyOptions(),
        }),
      ],
      controllers: [OrdersController],
    });
    await expectProtected(it, 'X-Token');
  });

  it.each<[string, DynamicModule]>([
    [
      'useClass',
      IdempotencyModule.forRootAsync({ store: memoryStore(), useClass: OptionsService }),
    ],
    [
      'useExisting',
      IdempotencyModule.forRootAsync({
        store: memoryStore(),
        imports: [OptionsModule],
        useExisting: OptionsService,
      }),
    ],
    [
      "registerAs(…).asProvider() of '@nestjs/config'",
      IdempotencyModule.forRootAsync({ ...idempotencyConfig.asProvider(), store: memoryStore() }),
    ],
  ])('forRootAsync takes %s, and a store beside it', async (_name, idempotency) => {
    const it = await started({
      imports: [ConfigModule.forRoot({ ignoreEnvFile: true }), idempotency],
      controllers: [OrdersController],
    });
    await expectProtected(it, 'X-Token');
  });

  it('is global unless told otherwise', async () => {
    @Module({ controllers: [OrdersController] })
    class OrdersModule {}
    const it = await started({
      imports: [OrdersModule, IdempotencyModule.forRoot({ store: memoryStore() })],
    });
    await expectProtected(it);
  });

  it('isGlobal: false asks each module to import it', async () => {
    const idempotency = IdempotencyModule.forRoot({ store: memoryStore(), isGlobal: false });
    @Module({ imports: [idempotency], controllers: [OrdersController] })
    class WithImport {}
    @Module({ controllers: [OrdersController] })
    class WithoutImport {}
    await expectProtected(await started({ imports: [idempotency, WithImport] }));
    const without = Test.createTestingModule({ imports: [idempotency, WithoutImport] }).compile();
    await expect(without).rejects.toThrow('there is no IdempotencyModule here');
  });
});

describe('two modules', () => {
  const both = (isGlobal: boolean): Promise<unknown> => {
    const modules = ['1h', '2h'].map((ttl) =>
      IdempotencyModule.forRoot({ store: memoryStore(), ttl: ttl as '1h', isGlobal }),
    );
    return Test.createTestingModule({ imports: modules })
      .compile()
      .then((module) => module.init().finally(() => module.close()));
  };

  it('cannot both be for everybody', async () => {
    await expect(both(true)).rejects.toThrow('forRoot() was called 2 times. Call it once');
  });

  it('may each be for some', async () => {
    await expect(both(false)).resolves.toBeDefined();
  });
});

describe('what cannot start says so', () => {
  const starting = async (...imports: DynamicModule[]): Promise<unknown> => {
    const module = await Test.createTestingModule({
      imports,
      controllers: [OrdersController],
    }).compile();
    return module.init().finally(() => module.close());
  };

  it('no store and no DataSource', async () => {
    await expect(starting(IdempotencyModule.forRoot())).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message:
        'IdempotencyModule: there is no default DataSource to keep records in. Import ' +
        'TypeOrmModule.forRoot({ … }) so that there is a default DataSource, name another one with ' +
        "store: typeOrmStore({ dataSource: 'name' }) from 'nestjs-idempotency/typeorm', or pass " +
        "store: redisStore({ client }) from 'nestjs-idempotency/redis', or, in tests, store: memoryStore().",
    });
  });

  it('no table', async () => {
    await expect(
      starting(sqlite({ migrations: [] }), IdempotencyModule.forRoot()),
    ).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining('idempotencyMigrations()'),
    });
  });

  it('a wrong option from a factory', async () => {
    const idempotency = IdempotencyModule.forRootAsync({
      store: memoryStore(),
      useFactory: () => ({ ttl: 'tomorrow' }) as unknown as IdempotencyModuleOptions,
    });
    await expect(starting(idempotency)).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining("option 'ttl' is 'tomorrow'."),
    });
  });

  it('a store that comes from a factory', async () => {
    const idempotency = IdempotencyModule.forRootAsync({
      useFactory: () => ({ store: memoryStore() }) as IdempotencyModuleOptions,
      store: memoryStore(),
    });
    await expect(starting(idempotency)).rejects.toMatchObject({
      message: expect.stringContaining('forRootAsync({ store: …, useFactory: … })'),
    });
  });

  it('a route that contradicts the module', async () => {
    @Controller('late')
    class LateController {
      @Post()
      @Idempotent({ lease: '1h' })
      place() {
        return ran();
      }
    }
    const module = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), maxDuration: '10m' })],
      controllers: [LateController],
    }).compile();
    await expect(module.init()).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringMatching(
        /LateController\.place: option 'maxDuration' \('10m'\) is shorter/,
      ),
    });
  });
});

/** Counts claims, which is what a doubled interceptor would double. */
function countingStore(): { store: IdempotencyStore; claims: () => number } {
  const store = memoryStore();
  const { claim } = store;
  let claims = 0;
  store.claim = (request) => {
    claims += 1;
    return claim.call(store, request);
  };
  return { store, claims: () => claims };
}

@Controller('twice')
@Idempotent({ header: 'X-Class' })
class TwiceController {
  @Idempotent({ maxKeyLength: 5 })
  @Post()
  @Idempotent({ header: 'X-Method' })
  place() {
    return ran();
  }

  @Put()
  byClass() {
    return ran();
  }

  @Get()
  read() {
    return ran();
  }

  @Head('head')
  head() {
    return ran();
  }

  helper() {
    return ran();
  }

  @Post('undefined-option')
  @Idempotent({ header: undefined })
  undefinedOption() {
    return ran();
  }
}

abstract class BaseController {
  @Post('inherited')
  @Idempotent()
  inherited(@Body() body: object) {
    return { ...ran(), of: this.constructor.name, body };
  }

  @Post('plain')
  plain() {
    return ran();
  }
}

@Controller('one')
class OneController extends BaseController {}

@Controller('two')
@Idempotent({ header: 'X-Two' })
class TwoController extends BaseController {}

@Controller({ path: 'scoped', scope: Scope.REQUEST })
class ScopedController {
  constructor(@Inject(REQUEST) private readonly request: { headers: Record<string, string> }) {}

  @Post()
  @Idempotent()
  place() {
    return { ...ran(), caller: this.request.headers['x-caller'] };
  }
}

@Controller('context')
class ContextController {
  constructor(private readonly idempotency: IdempotencyService) {}

  @Post()
  @Idempotent({ scope: () => 'tenant' })
  async place(@CurrentIdempotency() once: IdempotencyContext) {
    runs += 1;
    if (once.attempt === 1) {
      throw new Error('first attempt fails');
    }
    const live = await this.idempotency.find({ key: once.key, scope: once.scope });
    return {
      key: once.key,
      scope: once.scope,
      attempt: once.attempt,
      fence: typeof once.fence,
      aborted: once.signal.aborted,
      derived: [once.derive('a'), once.derive('a'), once.derive('b')],
      state: live?.state,
    };
  }

  @Post('optional')
  @Idempotent({ required: false })
  optional(@CurrentIdempotency() once: IdempotencyContext | undefined) {
    return { ...ran(), isProtected: once !== undefined };
  }
}

describe.each(platforms)('the decorator on %s', (platform) => {
  const { store, claims } = countingStore();
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store })],
      controllers: [
        TwiceController,
        OneController,
        TwoController,
        ScopedController,
        ContextController,
      ],
    });
  });
  afterAll(() => app.close());

  const call = (
    method: string,
    path: string,
    headers: Record<string, string>,
    body: object = {},
  ): Promise<RawResponse> =>
    send(app, {
      method,
      path,
      headers: [['content-type', 'application/json'], ...Object.entries(headers)],
      body: JSON.stringify(body),
    });

  it('bound to class and method, and to the method twice, claims once', async () => {
    const before = claims();
    const first = await call('POST', '/twice', { 'X-Method': 'k1' });
    expect(first.json()).toEqual({ run: 1 });
    expect(claims() - before).toBe(1);
    const again = await call('POST', '/twice', { 'X-Method': 'k1' });
    expect([again.text, again.header('idempotent-replayed')]).toEqual([first.text, 'true']);
    expect(claims() - before).toBe(2);
    // the options of all of them hold
    expect((await call('POST', '/twice', { 'X-Method': 'longer' })).status).toBe(400);
    expect((await call('POST', '/twice', { 'X-Class': 'k2' })).status).toBe(400);
  });

  it('on a class protects its routes, and leaves GET and HEAD alone', async () => {
    expect((await call('PUT', '/twice', {})).status).toBe(400);
    const first = await call('PUT', '/twice', { 'X-Class': 'k3' });
    expect((await call('PUT', '/twice', { 'X-Class': 'k3' })).text).toBe(first.text);
    runs = 0;
    for (const run of [1, 2]) {
      const read = await send(app, { method: 'GET', path: '/twice', headers: [['X-Class', 'k3']] });
      expect([read.status, read.json()]).toEqual([200, { run }]);
      expect(read.header('idempotent-replayed')).toBeUndefined();
    }
    expect((await send(app, { method: 'HEAD', path: '/twice/head' })).status).toBe(200);
  });

  it('on a class leaves methods alone that are no routes', () => {
    expect(new TwiceController().helper()).toEqual({ run: 1 });
    expect(new TwiceController().read()).toEqual({ run: 2 });
  });

  it('an undefined option is none', async () => {
    expect((await call('POST', '/twice/undefined-option', { 'X-Class': 'k4' })).status).toBe(201);
  });

  it('holds for inherited methods, with the settings of each controller', async () => {
    const one = await call('POST', '/one/inherited', { 'Idempotency-Key': 'i1' }, { a: 1 });
    expect(one.json()).toEqual({ run: 1, of: 'OneController', body: { a: 1 } });
    const again = await call('POST', '/one/inherited', { 'Idempotency-Key': 'i1' }, { a: 1 });
    expect(again.text).toBe(one.text);
    const two = await call('POST', '/two/inherited', { 'X-Two': 'i2' }, { a: 1 });
    expect(two.json()).toMatchObject({ run: 2, of: 'TwoController' });
    expect((await call('POST', '/two/inherited', { 'Idempotency-Key': 'i3' })).status).toBe(400);
    // the class-level decorator of one subclass does not reach the other
    expect((await call('POST', '/two/plain', {})).status).toBe(400);
    expect((await call('POST', '/one/plain', {})).status).toBe(201);
  });

  it('works on request-scoped controllers', async () => {
    const first = await call('POST', '/scoped', { 'Idempotency-Key': 's', 'X-Caller': 'one' });
    expect(first.json()).toEqual({ run: 1, caller: 'one' });
    const again = await call('POST', '/scoped', { 'Idempotency-Key': 's', 'X-Caller': 'two' });
    expect([again.text, runs]).toEqual([first.text, 1]);
  });

  it('refuses a direct call, which nothing would protect', () => {
    expect(() => new TwiceController().place()).toThrow(
      expect.objectContaining({
        code: 'IDEMPOTENCY_MISCONFIGURED',
        message: expect.stringMatching(/^TwiceController\.place: .*Call it over HTTP/),
      }),
    );
    expect(runs).toBe(0);
  });

  it('@CurrentIdempotency() tells the handler about its attempt', async () => {
    expect((await call('POST', '/context', { 'Idempotency-Key': 'ctx' })).status).toBe(500);
    const answer = await call('POST', '/context', { 'Idempotency-Key': 'ctx' });
    const { derived, ...rest } = answer.json<{ derived: [string, string, string] }>();
    expect(rest).toEqual({
      key: 'ctx',
      scope: 'tenant',
      attempt: 2,
      fence: 'bigint',
      aborted: false,
      state: 'in-progress',
    });
    expect(derived[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(derived[1]).toBe(derived[0]);
    expect(derived[2]).not.toBe(derived[0]);
  });

  it('@CurrentIdempotency() is undefined without a key, where none is needed', async () => {
    expect((await call('POST', '/context/optional', {})).json()).toMatchObject({
      isProtected: false,
    });
    const keyed = await call('POST', '/context/optional', { 'Idempotency-Key': 'o' });
    expect(keyed.json()).toMatchObject({ isProtected: true });
  });
});
