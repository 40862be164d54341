import { randomUUID } from 'node:crypto';
import {
  applyDecorators,
  Body,
  Catch,
  ClassSerializerInterceptor,
  Controller,
  Injectable,
  Post,
  UseFilters,
  UseInterceptors,
  type ArgumentsHost,
  type CallHandler,
  type ExceptionFilter,
  type ExecutionContext,
  type INestApplication,
  type NestInterceptor,
  type Provider,
  type Type,
} from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, HttpAdapterHost, Reflector } from '@nestjs/core';
import { Exclude, Expose, Transform } from 'class-transformer';
import { catchError, finalize, map, of, tap, type Observable } from 'rxjs';
import { IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import { platforms, send, startApp, type Platform, type TestApp } from '../support/http.js';
import { expectReplay, freshKey, sendTwice } from '../support/replay.js';

const SECRET = 'correct horse battery staple';
let runs = 0;
let log: string[] = [];

class Account {
  readonly id = runs;
  readonly items = [1, 2, 3];

  @Exclude()
  readonly password = SECRET;

  @Transform(({ value }: { value: Date }) => value.getTime())
  readonly created = new Date();

  @Expose()
  get title(): string {
    return `Account ${this.id}`;
  }
}

class DomainError extends Error {}

@Injectable()
class Logging implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(
      tap({
        next: () => log.push('next'),
        error: () => log.push('error'),
        complete: () => log.push('complete'),
      }),
      finalize(() => log.push('finalize')),
    );
  }
}

/** Adds what no second run could add again. */
@Injectable()
class Stamping implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next
      .handle()
      .pipe(map((data) => ({ data, requestId: randomUUID(), at: process.hrtime.bigint() + '' })));
  }
}

/** Believes that there is always something to map. */
@Injectable()
class Choking implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(
      map((data: { items: number[] }) => ({
        ...data,
        items: data.items.map((item) => item * 2),
      })),
    );
  }
}

@Injectable()
class Serializing extends ClassSerializerInterceptor {
  constructor(reflector: Reflector) {
    super(reflector);
  }
}

@Catch(DomainError)
class RandomIdFilter implements ExceptionFilter {
  constructor(private readonly adapter: HttpAdapterHost) {}

  catch(error: DomainError, host: ArgumentsHost): void {
    const { httpAdapter } = this.adapter;
    const response = host.switchToHttp().getResponse<unknown>();
    httpAdapter.setHeader(response, 'Content-Language', 'en');
    httpAdapter.reply(response, { errorId: randomUUID(), reason: error.message }, 402);
  }
}

const PLACES = ['above', 'below', 'class', 'module', 'global'] as const;
type Place = (typeof PLACES)[number];

/** The outermost first; all of them at one place. */
const INTERCEPTORS = [Logging, Stamping, Choking, Serializing];

/** One controller whose interceptors and filter are bound at the given places around `@Idempotent()`. */
function controllerWith(interceptorsAt: Place, filterAt: Place): Type {
  const at = (place: Place): (MethodDecorator & ClassDecorator)[] => [
    ...(interceptorsAt === place ? [UseInterceptors(...INTERCEPTORS)] : []),
    ...(filterAt === place ? [UseFilters(RandomIdFilter)] : []),
  ];
  // applied in this order, and so written from the bottom to the top
  const idempotent = applyDecorators(
    ...at('below'),
    Idempotent({ errors: 'store-all' }),
    ...at('above'),
  );

  @Controller('accounts')
  @applyDecorators(...at('class'))
  class AccountsController {
    @idempotent
    @Post('open')
    open(): Account {
      runs += 1;
      return new Account();
    }

    @idempotent
    @Post('fail')
    fail(): never {
      runs += 1;
      throw new DomainError('no credit');
    }
  }
  return AccountsController;
}

function startWith(platform: Platform, interceptorsAt: Place, filterAt: Place): Promise<TestApp> {
  const providers: Provider[] = [
    ...(interceptorsAt === 'module'
      ? INTERCEPTORS.map((useClass) => ({ provide: APP_INTERCEPTOR, useClass }))
      : []),
    ...(filterAt === 'module' ? [{ provide: APP_FILTER, useClass: RandomIdFilter }] : []),
  ];
  const configure = (app: INestApplication): void => {
    if (interceptorsAt === 'global') {
      const serializing = new Serializing(app.get(Reflector));
      app.useGlobalInterceptors(new Logging(), new Stamping(), new Choking(), serializing);
    }
    if (filterAt === 'global') {
      app.useGlobalFilters(new RandomIdFilter(app.get(HttpAdapterHost)));
    }
  };
  const imports = [IdempotencyModule.forRoot({ store: memoryStore() })];
  const controllers = [controllerWith(interceptorsAt, filterAt)];
  return startApp(platform, { imports, controllers, providers }, { configure });
}

beforeEach(() => {
  runs = 0;
  log = [];
});

describe.each(platforms)('on %s,', (platform) => {
  // every place of the one with every place of the other, each at least once
  const matrix = PLACES.flatMap((interceptorsAt) =>
    PLACES.map((filterAt) => ({ interceptorsAt, filterAt })),
  );

  describe.each(matrix)(
    'interceptors at $interceptorsAt, filter at $filterAt:',
    ({ interceptorsAt, filterAt }) => {
      let app: TestApp;
      beforeAll(async () => {
        app = await startWith(platform, interceptorsAt, filterAt);
      });
      afterAll(() => app.close());

      it('what was hidden, mapped and stamped is what is replayed', async () => {
        const { first, again } = await sendTwice(app, { path: '/accounts/open' });
        expectReplay(first, again);
        expect(runs).toBe(1);
        expect(first.status).toBe(201);
        expect(first.text).not.toContain(SECRET);
        expect(first.json()).toMatchObject({
          data: { id: 1, title: 'Account 1', items: [2, 4, 6] },
          requestId: expect.any(String) as string,
        });
        expect(log.filter((entry) => entry === 'finalize')).toHaveLength(2);
      });

      it('what a filter rendered is what is replayed', async () => {
        const { first, again } = await sendTwice(app, { path: '/accounts/fail' });
        expectReplay(first, again);
        expect(runs).toBe(1);
        expect(first.status).toBe(402);
        expect(first.header('content-language')).toBe('en');
        expect(first.json()).toEqual({
          errorId: expect.any(String) as string,
          reason: 'no credit',
        });
      });
    },
  );
});

/** Answers from its own memory, without asking anybody. */
@Injectable()
class Caching implements NestInterceptor {
  static readonly entries = new Map<string, unknown>();

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    const key = String(headers['idempotency-key']);
    return Caching.entries.has(key)
      ? of(Caching.entries.get(key))
      : next.handle().pipe(tap((value) => Caching.entries.set(key, value)));
  }
}

@Injectable()
class Forgiving implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(catchError(() => of({ forgiven: runs })));
  }
}

@Injectable()
class Spoiling implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(
      map(() => {
        throw new Error(`spoilt ${randomUUID()}`);
      }),
    );
  }
}

@Controller('others')
class OthersController {
  @Post('logged')
  @UseInterceptors(Logging)
  @Idempotent()
  logged(@Body() { fails }: { fails: boolean }): object {
    runs += 1;
    if (fails) {
      throw new DomainError('failed');
    }
    return { runs };
  }

  @Post('cached')
  @UseInterceptors(Caching)
  @Idempotent()
  cached(): object {
    runs += 1;
    return { runs };
  }

  @Post('forgiven')
  @UseInterceptors(Forgiving)
  @Idempotent({ errors: () => 'store' })
  forgiven(): object {
    runs += 1;
    throw new DomainError('failed');
  }

  @Post('spoilt')
  @UseInterceptors(Spoiling)
  @Idempotent()
  spoilt(): object {
    runs += 1;
    return { runs };
  }
}

describe.each(platforms)('on %s, an interceptor outside', (platform) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [OthersController],
    });
  });
  afterAll(() => app.close());

  it('that logs sees a replay complete', async () => {
    await sendTwice(app, { path: '/others/logged', body: { fails: false } });
    expect(log).toEqual(['next', 'complete', 'finalize', 'next', 'complete', 'finalize']);
  });

  it('that logs sees a failure fail', async () => {
    await send(app, { path: '/others/logged', body: { fails: true }, key: freshKey() });
    expect(log).toEqual(['error', 'finalize']);
  });

  it('that caches answers like the first answer, and so does a replay once it forgot', async () => {
    const { first, again, key } = await sendTwice(app, { path: '/others/cached' });
    expect([again.status, again.text]).toEqual([first.status, first.text]);
    Caching.entries.clear();
    expectReplay(first, await send(app, { path: '/others/cached', key }));
    expect(runs).toBe(1);
  });

  it('that makes an error an answer makes it the replay’s too', async () => {
    const { first, again } = await sendTwice(app, { path: '/others/forgiven' });
    expectReplay(first, again);
    expect(first.json()).toEqual({ forgiven: 1 });
    expect(runs).toBe(1);
  });

  it('that fails after the handler succeeded causes no second run', async () => {
    const { first, again } = await sendTwice(app, { path: '/others/spoilt' });
    expectReplay(first, again);
    expect(first.status).toBe(500);
    expect(runs).toBe(1);
  });
});
