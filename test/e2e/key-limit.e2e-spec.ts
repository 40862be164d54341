import 'reflect-metadata';
import { jest } from '@jest/globals';
import { Controller, HttpException, Logger, Post } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import { send, startApp, type RawResponse, type TestApp } from '../support/http.js';
import { availableStores } from '../support/service-app.js';
import { createEffects, effectsOf, killAll, startShop, type Shop } from '../support/shop.js';

const MOST = 5;
const scope = ({ headers }: { headers: Record<string, unknown> }): string | undefined =>
  headers['x-user'] as string | undefined;

let runs = 0;

@Controller()
class WorkController {
  @Post('work')
  @Idempotent()
  work() {
    return { run: (runs += 1) };
  }

  @Post('wide')
  @Idempotent({ maxKeysPerScope: MOST + 1 })
  wide() {
    return { run: (runs += 1) };
  }

  @Post('failing')
  @Idempotent()
  failing() {
    throw new HttpException('not now', 503);
  }

  @Post('whole')
  @Idempotent({ mode: 'transactional' })
  whole() {
    return { run: (runs += 1) };
  }
}

@Controller()
class LeaseController {
  @Post('work')
  @Idempotent()
  work() {
    return {};
  }
}

function post(
  to: { readonly port: number },
  user: string | undefined,
  key: string,
  path = '/work',
): Promise<RawResponse> {
  const headers = user === undefined ? [] : ([['x-user', user]] as const);
  return send(to, { path, key, headers, body: { name: user } });
}

describe.each(availableStores('sqlite', 'sqlite-file', 'postgres', 'mariadb', 'mysql'))(
  'maxKeysPerScope on %s',
  (dialect) => {
    let database: TestDatabase;
    let app: TestApp;
    beforeAll(async () => {
      database = await createTestDatabase(dialect as 'postgres');
      const dataSource = await database.open({ synchronize: true });
      const store = typeOrmStore({ dataSource, scopeIndex: true });
      app = await startApp('express', {
        imports: [IdempotencyModule.forRoot({ store, scope, maxKeysPerScope: MOST })],
        controllers: [WorkController],
      });
    });
    afterAll(async () => {
      await app.close();
      await database.drop();
    });
    beforeEach(() => {
      runs = 0;
    });

    const fill = async (user: string, path?: string): Promise<void> => {
      for (let n = 0; n < MOST; n++) {
        expect((await post(app, user, `${user}-${n}`, path)).status).toBe(201);
      }
    };

    it('answers 429 to one key more, and replays those that are there', async () => {
      await fill('ann');
      const refused = await post(app, 'ann', 'ann-more');
      expect(refused.status).toBe(429);
      expect(refused.json()).toMatchObject({
        code: 'IDEMPOTENCY_TOO_MANY_KEYS',
        retryable: true,
      });
      expect(runs).toBe(MOST);
      expect((await post(app, 'ann', 'ann-0')).header('idempotent-replayed')).toBe('true');
      expect((await post(app, 'ann', 'ann-more', '/wide')).status).toBe(201);
    });

    it('is of each caller, to the last blank, and of nobody who is not known', async () => {
      await fill('bob');
      await fill('Bob');
      for (let n = 0; n <= MOST; n++) {
        expect((await post(app, undefined, `anonymous-${n}`)).status).toBe(201);
      }
      expect((await post(app, 'bob', 'bob-more')).status).toBe(429);
    });

    it('does not count what failed', async () => {
      for (let n = 0; n <= MOST; n++) {
        expect((await post(app, 'cyd', `failed-${n}`, '/failing')).status).toBe(503);
      }
      await fill('cyd');
    });

    it('holds for transactional routes', async () => {
      await fill('dan', '/whole');
      expect((await post(app, 'dan', 'dan-more', '/whole')).status).toBe(429);
      expect((await post(app, 'dan', 'dan-0', '/whole')).header('idempotent-replayed')).toBe(
        'true',
      );
      expect(runs).toBe(MOST);
    });
  },
);

const shared = availableDialects().filter((dialect) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(dialect),
);

describe.each(shared)('maxKeysPerScope over several processes on %s', (dialect) => {
  it('is never passed, whoever comes at once', async () => {
    const database = await createTestDatabase(dialect);
    const shops: Shop[] = [];
    try {
      const observer: DataSource = await database.open({ synchronize: true });
      await createEffects(observer);
      for (let n = 0; n < 3; n++) {
        const shop = await startShop(
          {
            platform: 'fastify',
            dataSource: { ...database.options, synchronize: n === 0 } as never,
            idempotency: { cleanup: false, maxKeysPerScope: MOST, storeTimeout: '20s' },
          },
          'limited',
        );
        shops.push(shop);
      }
      for (let round = 0; round < 4; round++) {
        const user = `user-${round}`;
        const answers = await Promise.all(
          Array.from({ length: 45 }, (_, n) =>
            post(shops[n % 3] as Shop, user, `${user}-${n}`, '/effects'),
          ),
        );
        const won = answers.filter(({ status }) => status === 201).length;
        expect(new Set(answers.map(({ status }) => status))).toEqual(
          new Set(won > 0 ? [201, 429] : [429]),
        );
        expect(won).toBeLessThanOrEqual(MOST);
        expect(await effectsOf(observer, user)).toHaveLength(won);
        // whoever was turned away while others were, too, finds room until there is none
        for (let n = 0; n < 10; n++) {
          await post(shops[n % 3] as Shop, user, `${user}-later-${n}`, '/effects');
        }
        expect(await effectsOf(observer, user)).toHaveLength(MOST);
      }
    } finally {
      await killAll(shops);
      await database.drop();
    }
  }, 120_000);
});

describe('maxKeysPerScope without an index', () => {
  it.each([
    ['is warned of', { maxKeysPerScope: MOST }, {}, 1],
    ['is nobody’s matter without a limit', {}, {}, 0],
    ['is not without one', { maxKeysPerScope: MOST }, { scopeIndex: true }, 0],
  ])('%s', async (_, options, table, count) => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    try {
      const app = await startApp('express', {
        imports: [
          TypeOrmModule.forRoot({
            type: 'better-sqlite3',
            database: ':memory:',
            synchronize: true,
          }),
          IdempotencyModule.forRoot({ ...options, scope, store: typeOrmStore(table) }),
        ],
        controllers: [LeaseController],
      });
      await app.close();
      const warnings = warn.mock.calls.filter(([text]) => String(text).includes('scopeIndex'));
      expect(warnings).toHaveLength(count);
    } finally {
      warn.mockRestore();
    }
  });

  it('works in memory', async () => {
    const app = await startApp('express', {
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), scope, maxKeysPerScope: 1 })],
      controllers: [LeaseController],
    });
    try {
      const answers = await Promise.all(['a', 'b', 'c'].map((key) => post(app, 'ann', key)));
      expect(answers.filter(({ status }) => status === 201).length).toBeLessThanOrEqual(1);
      await post(app, 'ann', 'd');
      expect((await post(app, 'ann', 'e')).status).toBe(429);
    } finally {
      await app.close();
    }
  });
});
