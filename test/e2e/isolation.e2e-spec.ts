import 'reflect-metadata';
import {
  Controller,
  HttpException,
  Injectable,
  Logger,
  Post,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
  type LoggerService,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  Idempotent,
  IdempotencyModule,
  memoryStore,
  type IdempotencyHooks,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { createTestDatabase } from '../support/databases.js';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

/** Whom a token belongs to: what the guard puts on the request. */
const users = new Map<string, unknown>();
let effects: string[] = [];

@Injectable()
class TokenGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{
      headers: Record<string, string>;
      user?: unknown;
    }>();
    const user = users.get(request.headers.authorization ?? '');
    if (user === undefined) {
      throw new HttpException('who are you?', 401);
    }
    request.user = user;
    return true;
  }
}

const effect = (name: string): { secret: string } => {
  effects.push(name);
  return { secret: `${name} ${effects.length}` };
};

@Controller()
class MineController {
  @Post('mine')
  @UseGuards(TokenGuard)
  @Idempotent()
  mine() {
    return effect('mine');
  }

  @Post('open')
  @Idempotent()
  open() {
    return effect('open');
  }

  @Post('tenant')
  @Idempotent({ scope: ({ headers }) => headers['x-tenant'] as string | undefined })
  tenant() {
    return effect('tenant');
  }

  @Post('async-tenant')
  @Idempotent({
    scope: async ({ headers }, context) => {
      await Promise.resolve();
      return `${context.getClass().name}/${String(headers['x-tenant'])}`;
    },
  })
  asyncTenant() {
    return effect('async tenant');
  }

  @Post('scope-fails')
  @Idempotent({
    scope: () => {
      throw new HttpException('unknown tenant', 404);
    },
  })
  scopeFails() {
    return effect('never');
  }

  @Post('failing')
  @Idempotent({ errors: 'store-all' })
  failing() {
    effects.push('failing');
    throw new HttpException('no', 422);
  }
}

/** Keeps every line that anybody logs. */
class CapturingLogger implements LoggerService {
  readonly lines: string[] = [];
  log = (...line: unknown[]): void => this.keep('log', line);
  error = (...line: unknown[]): void => this.keep('error', line);
  warn = (...line: unknown[]): void => this.keep('warn', line);
  debug = (...line: unknown[]): void => this.keep('debug', line);
  verbose = (...line: unknown[]): void => this.keep('verbose', line);

  private keep(level: string, line: unknown[]): void {
    const text = line.map((it) =>
      it instanceof Error ? `${it.stack}${String(it.cause)}` : JSON.stringify(it),
    );
    this.lines.push(`${level}: ${text.join(' ')}`);
  }
}

describe.each(platforms)('whose key it is, on %s', (platform) => {
  let app: TestApp;
  let key = '';
  let keys = 0;
  const logger = new CapturingLogger();

  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [MineController],
    });
    Logger.overrideLogger(logger);
  });
  afterAll(async () => {
    Logger.overrideLogger(false);
    await app.close();
  });
  beforeEach(() => {
    effects = [];
    users.clear();
    key = `key-${(keys += 1)}`;
  });

  const post = (path: string, headers: Record<string, string> = {}): Promise<RawResponse> =>
    send(app, {
      path,
      key,
      body: {},
      headers: [['content-type', 'application/json'], ...Object.entries(headers)],
    });
  const as = (token: string): Promise<RawResponse> => post('/mine', { authorization: token });

  const objectId = (hex: string): object => ({ toString: () => hex });

  it.each<[string, unknown, unknown]>([
    ['id', { id: 'alice' }, { id: 'bob' }],
    ['numeric id', { id: 1 }, { id: 2 }],
    ['id 0', { id: 0 }, { id: 1 }],
    ['bigint id', { id: 10n }, { id: 11n }],
    ['sub', { sub: 'alice' }, { sub: 'bob' }],
    ['userId', { userId: 'alice' }, { userId: 'bob' }],
    ['an ObjectId', { id: objectId('5f') }, { id: objectId('60') }],
    ['a subject without an id', { id: undefined, sub: 'alice' }, { id: null, sub: 'bob' }],
    ['an id with separators', { id: 'a:b' }, { id: 'a' }],
  ])('%s of request.user', async (_name, alice, bob) => {
    users.set('alice', alice).set('alice after a refresh', alice).set('bob', bob);
    const hers = await as('alice');
    const his = await as('bob');
    expect([his.status, his.header('idempotent-replayed')]).toEqual([hers.status, undefined]);
    expect(his.text).not.toBe(hers.text);
    expect(effects).toHaveLength(2);
    expect((await as('alice after a refresh')).text).toBe(hers.text);
    expect((await as('bob')).text).toBe(his.text);
    expect(effects).toHaveLength(2);
  });

  it.each([NaN, '', {}, null, true])('%p identifies nobody: the credentials count', async (id) => {
    users.set('alice', { id }).set('bob', { id });
    const hers = await as('alice');
    const his = await as('bob');
    expect(hers.status).toBe(201);
    expect([his.status, his.text.includes('mine')]).toEqual([422, false]);
    expect(effects).toHaveLength(1);
  });

  it('a revoked user gets the guard’s answer, and never the record', async () => {
    users.set('alice', { id: 'alice' });
    const first = await as('alice');
    users.clear();
    const revoked = await as('alice');
    expect(revoked.status).toBe(401);
    expect(revoked.text).not.toContain('mine');
    users.set('alice', { id: 'alice' });
    expect((await as('alice')).text).toBe(first.text);
    expect(effects).toHaveLength(1);
  });

  it.each(['/tenant', '/async-tenant'])('a scope of the application’s own: %s', async (path) => {
    const one = await post(path, { 'x-tenant': 'one', authorization: 'a' });
    const two = await post(path, { 'x-tenant': 'two', authorization: 'a' });
    const again = await post(path, { 'x-tenant': 'one', authorization: 'b' });
    expect([two.status, two.text === one.text, again.text]).toEqual([201, false, one.text]);
    expect(effects).toHaveLength(2);
  });

  it('a scope that throws is answered as what it threw, and nothing runs', async () => {
    expect((await post('/scope-fails')).status).toBe(404);
    expect(effects).toEqual([]);
  });

  it.each([
    ['/open', 'authorization'],
    ['/open', 'cookie'],
    ['/open', 'x-api-key'],
    ['/open', 'proxy-authorization'],
    ['/tenant', 'authorization'],
  ])('%s with %s of nobody known: a stranger gets 422, never the body', async (path, header) => {
    const first = await post(path, { [header]: 'alice' });
    expect(first.status).toBe(201);
    for (const headers of [{ [header]: 'bob' }, {}] as Record<string, string>[]) {
      const stranger = await post(path, headers);
      expect(stranger.json()).toMatchObject({ status: 422, code: 'IDEMPOTENCY_KEY_REUSED' });
      expect(stranger.text).not.toContain('secret');
    }
    expect((await post(path, { [header]: 'alice' })).text).toBe(first.text);
    expect(effects).toHaveLength(1);
  });

  it('and one warning says how to set `scope`', () => {
    const warnings = logger.lines.filter((line) => line.includes('credentials'));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^warn: .*MineController\.mine.*Set `scope`/);
  });
});

describe.each(platforms)('CORS on %s', (platform) => {
  it('takes one line, and is not replayed', async () => {
    const app = await startApp(
      platform,
      {
        imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
        controllers: [MineController],
      },
      {
        configure: (it) =>
          it.enableCors({
            origin: ['https://one.example', 'https://two.example'],
            allowedHeaders: ['Content-Type', 'Idempotency-Key'],
            exposedHeaders: ['Idempotent-Replayed', 'Retry-After'],
          }),
      },
    );
    try {
      const preflight = await send(app, {
        method: 'OPTIONS',
        path: '/open',
        headers: [
          ['Origin', 'https://one.example'],
          ['Access-Control-Request-Method', 'POST'],
          ['Access-Control-Request-Headers', 'idempotency-key'],
        ],
      });
      expect(preflight.status).toBe(204);
      expect(preflight.header('access-control-allow-headers')).toContain('Idempotency-Key');
      const from = (origin: string): Promise<RawResponse> =>
        send(app, {
          path: '/open',
          key: 'cors',
          headers: [
            ['Origin', origin],
            ['Content-Type', 'application/json'],
          ],
          body: '{}',
        });
      const first = await from('https://one.example');
      const again = await from('https://two.example');
      expect(again.header('idempotent-replayed')).toBe('true');
      for (const [response, origin] of [
        [first, 'one'],
        [again, 'two'],
      ] as const) {
        expect(response.header('access-control-allow-origin')).toBe(`https://${origin}.example`);
        const exposed = response.header('access-control-expose-headers')?.split(/, ?/);
        expect(exposed).toEqual(['Idempotent-Replayed', 'Retry-After']);
      }
    } finally {
      await app.close();
    }
  });
});

describe.each(platforms)('secrets on %s', (platform) => {
  const canaries = {
    key: 'canary-key-1',
    authorization: 'Bearer canary-token-2',
    cookie: 'session=canary-cookie-3',
    body: 'canary-body-4',
  };

  /** Every way a request may end, over the given store; all that was seen on the way. */
  const everythingSaid = async (store: IdempotencyStore): Promise<string> => {
    const logger = new CapturingLogger();
    const events: unknown[] = [];
    const note = (event: unknown): void => {
      events.push(event);
    };
    const hooks = Object.fromEntries(
      [
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
      ].map((name) => [name, note]),
    ) as IdempotencyHooks;
    const app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store, hooks, storeTimeout: 500 })],
      controllers: [MineController],
    });
    Logger.overrideLogger(logger);
    const answers: string[] = [];
    try {
      const post = async (path: string, key: string, body: unknown): Promise<void> => {
        const response = await send(app, {
          path,
          key,
          headers: [
            ['authorization', canaries.authorization],
            ['cookie', canaries.cookie],
            ['content-type', 'application/json'],
          ],
          body: JSON.stringify(body),
        });
        answers.push(response.text, JSON.stringify(response.rawHeaders));
      };
      const body = { text: canaries.body };
      await post('/open', canaries.key, body);
      await post('/open', canaries.key, body);
      await post('/open', canaries.key, { text: `${canaries.body} other` });
      await post('/open', `"${canaries.key}`, body);
      await post('/open', `${canaries.key},${canaries.key}`, body);
      await post('/failing', `${canaries.key}-f`, body);
      await post('/failing', `${canaries.key}-f`, body);
      await post('/scope-fails', canaries.key, body);
      expect(events.length).toBeGreaterThan(3);
    } finally {
      Logger.overrideLogger(false);
      await app.close();
    }
    return [
      ...logger.lines,
      ...answers,
      JSON.stringify(events, (_, it: unknown) => (typeof it === 'bigint' ? String(it) : it)),
    ].join('\n');
  };

  it('appear in no log line, event or answer', async () => {
    expect(await everythingSaid(memoryStore())).not.toMatch(/canary/);
  });

  it('nor when the database fails with its statement in the error', async () => {
    const database = await createTestDatabase('mariadb');
    try {
      const dataSource = await database.open({ synchronize: true });
      const store = new TypeOrmStore(dataSource);
      const init = store.init.bind(store);
      // the table goes away after the application has started
      store.init = async () => {
        await init();
        await dataSource.query('DROP TABLE idempotency_record');
      };
      const said = await everythingSaid(store);
      expect(said).toContain('IDEMPOTENCY_');
      expect(said).not.toMatch(/canary/);
    } finally {
      await database.drop();
    }
  });

  it('nor when a store fails with the key in its error', async () => {
    const store = memoryStore();
    store.claim = (request) =>
      Promise.reject(Object.assign(new Error('driver'), { parameters: [request.key] }));
    expect(await everythingSaid(store)).not.toMatch(/canary/);
  });
});

it('a module that is not initialised says so', async () => {
  const module = await Test.createTestingModule({
    imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
  }).compile();
  const { IdempotencyService } = await import('nestjs-idempotency');
  await expect(module.get(IdempotencyService).execute({ key: 'k' }, () => 1)).rejects.toMatchObject(
    {
      code: 'IDEMPOTENCY_MISCONFIGURED',
      message: expect.stringContaining('app.init()'),
    },
  );
});
