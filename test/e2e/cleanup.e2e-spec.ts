import 'reflect-metadata';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { jest } from '@jest/globals';
import { Injectable, Logger, Module } from '@nestjs/common';
import { Cron, Interval, ScheduleModule, SchedulerRegistry } from '@nestjs/schedule';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type CleanupOptions,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { createTestDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/http.js';

const TIMER = 'nestjs-idempotency:cleanup';

let ticks: Record<string, number> = {};

@Injectable()
class Ticks {
  @Cron('* * * * * *')
  cron(): void {
    const second = `cron ${Math.floor(Date.now() / 1000)}`;
    ticks[second] = (ticks[second] ?? 0) + 1;
  }

  @Interval(200)
  interval(): void {
    ticks.interval = (ticks.interval ?? 0) + 1;
  }
}

@Module({ providers: [Ticks] })
class TicksModule {}

async function start(
  store: IdempotencyStore,
  options: {
    cleanup?: false | CleanupOptions;
    onExpired?: (event: { deleted: number }) => void;
  } = {},
  imports: unknown[] = [],
): Promise<TestingModule> {
  const { cleanup, onExpired } = options;
  const module = await Test.createTestingModule({
    imports: [
      IdempotencyModule.forRoot({
        store,
        ...(cleanup !== undefined && { cleanup }),
        hooks: onExpired ? { onExpired } : {},
      }),
      ...(imports as []),
    ],
  }).compile();
  return module.init();
}

/** Counts the batches that were asked for. */
function counting(store: IdempotencyStore): { store: IdempotencyStore; batches: number[] } {
  const batches: number[] = [];
  const { deleteExpired } = store;
  store.deleteExpired = async (limit) => {
    const deleted = await deleteExpired.call(store, limit);
    batches.push(deleted);
    return deleted;
  };
  return { store, batches };
}

describe('the timer', () => {
  it("is in the application's SchedulerRegistry", async () => {
    const app = await start(memoryStore(), {}, [ScheduleModule.forRoot()]);
    const registry = app.get(SchedulerRegistry, { strict: false });
    expect(registry.getIntervals()).toEqual([TIMER]);
    await app.close();
    expect(registry.getIntervals()).toEqual([]);
  });

  it('also beneath a ScheduleModule that one of its modules imports', async () => {
    @Module({ imports: [ScheduleModule.forRoot()] })
    class Nested {}
    const app = await start(memoryStore(), {}, [Nested]);
    expect(app.get(SchedulerRegistry, { strict: false }).doesExist('interval', TIMER)).toBe(true);
    await app.close();
  });

  it('works without ScheduleModule, and deletes what is expired', async () => {
    let now = Date.now();
    const deleted: number[] = [];
    const app = await start(memoryStore({ now: () => now }), {
      cleanup: { interval: 20 },
      onExpired: (event) => deleted.push(event.deleted),
    });
    const service = app.get(IdempotencyService);
    await service.execute({ key: 'kept', ttl: '7d' }, () => 1);
    await service.execute({ key: 'over', ttl: '1h' }, () => 1);
    now += 2 * 60 * 60 * 1000;
    await eventually(() => deleted.length > 0, 'the timer deletes an expired record');
    expect(deleted).toEqual([1]);
    expect(await service.find({ key: 'kept' })).not.toBeNull();
    await app.close();
  });

  it('is not there with cleanup: false', async () => {
    const { store, batches } = counting(memoryStore());
    const app = await start(store, { cleanup: false }, [ScheduleModule.forRoot()]);
    expect(app.get(SchedulerRegistry, { strict: false }).getIntervals()).toEqual([]);
    expect(await app.get(IdempotencyService).deleteExpired()).toBe(0);
    expect(batches).toEqual([0]);
    await app.close();
  });

  it('stops on close, after the turn that is under way', async () => {
    const store = memoryStore();
    const log: string[] = [];
    let finish!: () => void;
    store.deleteExpired = () => {
      log.push('begun');
      return new Promise((resolve) => {
        finish = () => {
          log.push('done');
          resolve(0);
        };
      });
    };
    const app = await start(store, { cleanup: { interval: 10 } });
    await eventually(() => log.length > 0, 'a turn begins');
    const closed = app.close().then(() => log.push('closed'));
    setImmediate(() => finish());
    await closed;
    expect(log).toEqual(['begun', 'done', 'closed']);
  });

  it('goes on after a turn that failed', async () => {
    const store = memoryStore();
    let turns = 0;
    store.deleteExpired = () => {
      turns += 1;
      return Promise.reject(new Error('the database is away'));
    };
    const app = await start(store, { cleanup: { interval: 10 } });
    await eventually(() => turns > 2, 'the next turns');
    await app.close();
  });

  it('begins with what the store can delete as a whole, and counts it', async () => {
    const { store, batches } = counting(memoryStore());
    const deleted: number[] = [];
    store.maintain = async () => {
      expect(batches).toEqual([]);
      return { deleted: 3_000 };
    };
    const app = await start(store, {
      cleanup: false,
      onExpired: (event) => deleted.push(event.deleted),
    });
    expect(await app.get(IdempotencyService).deleteExpired()).toBe(3_000);
    expect(batches).toEqual([0]);
    expect(deleted).toEqual([3_000]);
    await app.close();
  });

  it('tells once what keeps the store from it', async () => {
    const { store, batches } = counting(memoryStore());
    store.maintain = async () => ({ deleted: 0, warning: 'It may not.' });
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    try {
      const app = await start(store, { cleanup: { interval: 10 } });
      await eventually(() => batches.length > 2, 'the next turns');
      await app.close();
      expect(warn.mock.calls.filter(([text]) => text === 'It may not.')).toHaveLength(1);
    } finally {
      warn.mockRestore();
    }
  });

  it('deletes in batches all the same when that failed', async () => {
    const { store, batches } = counting(memoryStore());
    store.maintain = () => Promise.reject(new Error('no space left'));
    const app = await start(store, { cleanup: false });
    await expect(app.get(IdempotencyService).deleteExpired()).rejects.toThrow('no space left');
    expect(batches).toEqual([0]);
    await app.close();
  });

  it("leaves the application's own @Cron and @Interval alone: each fires once per tick", async () => {
    ticks = {};
    const app = await start(memoryStore(), {}, [ScheduleModule.forRoot(), TicksModule]);
    const registry = app.get(SchedulerRegistry, { strict: false });
    expect(registry.getCronJobs().size).toBe(1);
    expect(registry.getIntervals()).toHaveLength(2);
    await eventually(
      () => Object.keys(ticks).filter((name) => name.startsWith('cron')).length >= 2,
      'two seconds tick',
    );
    await app.close();
    const { interval, ...seconds } = ticks;
    expect(interval).toBeGreaterThan(1);
    expect(new Set(Object.values(seconds))).toEqual(new Set([1]));
  }, 15_000);

  it('does not keep the process alive', async () => {
    const script = `
      import 'reflect-metadata';
      import { NestFactory } from '@nestjs/core';
      import { Module } from '@nestjs/common';
      import { IdempotencyModule, memoryStore } from './src/index.ts';
      class App {}
      Module({ imports: [IdempotencyModule.forRoot({ store: memoryStore() })] })(App);
      await NestFactory.createApplicationContext(App, { logger: false });
      process.stdout.write('started');
    `;
    const child = spawn(
      process.execPath,
      ['--import', './test/support/typeorm-loader.mjs', '--input-type=module', '-e', script],
      { stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 },
    );
    let output = '';
    child.stdout.on('data', (chunk) => (output += String(chunk)));
    child.stderr.on('data', (chunk) => (output += String(chunk)));
    const [code] = (await once(child, 'exit')) as [number | null];
    expect([code, output]).toEqual([0, 'started']);
  }, 30_000);
});

describe('deleteExpired()', () => {
  it('works in batches until nothing is left', async () => {
    let now = Date.now();
    const { store, batches } = counting(memoryStore({ now: () => now }));
    const app = await start(store, { cleanup: { interval: '1h', batchSize: 10 } });
    const service = app.get(IdempotencyService);
    for (let index = 0; index < 25; index += 1) {
      await service.execute({ key: `k${index}` }, () => index);
    }
    expect(await service.deleteExpired()).toBe(0);
    now += 24 * 60 * 60 * 1000 + 1;
    batches.length = 0;
    expect(await service.deleteExpired()).toBe(25);
    expect(batches).toEqual([10, 10, 5]);
    await app.close();
  });

  describe('of several instances on one PostgreSQL', () => {
    let database: TestDatabase;
    beforeAll(async () => {
      database = await createTestDatabase('postgres');
    });
    afterAll(() => database.drop());

    it('deletes every row once', async () => {
      const rows = 500;
      const deleted: number[] = [];
      const stores = [];
      for (let index = 0; index < 3; index += 1) {
        const store = new TypeOrmStore(await database.open({ synchronize: index === 0 }));
        await store.init();
        stores.push(store);
      }
      const [first] = stores as [TypeOrmStore];
      const id = (index: number): string => index.toString(16).padStart(32, '0');
      const claim = { scope: null, operation: null, key: null, fingerprint: new Uint8Array(17) };
      for (let index = 0; index < rows; index += 1) {
        const owned = { id: id(index), owner: id(index + 1) };
        await first.claim({ ...claim, ...owned, leaseMs: 60_000, ttlMs: 60_000 });
        await first.complete({ ...owned, result: new Uint8Array(1), ttlMs: 60_000 });
      }
      const dataSource = await database.open();
      await dataSource.query('UPDATE idempotency_record SET expires_at = 1, sweep_at = 1');
      const apps = [];
      for (const store of stores) {
        apps.push(
          await start(store, {
            cleanup: { interval: 20, batchSize: 7 },
            onExpired: (event) => deleted.push(event.deleted),
          }),
        );
      }
      const left = async (): Promise<number> => {
        const [row] = await dataSource.query<[{ n: string }]>(
          'SELECT count(*) AS n FROM idempotency_record',
        );
        return Number(row.n);
      };
      await eventually(async () => (await left()) === 0, 'every row is deleted', 15_000);
      await Promise.all(apps.map((app) => app.close()));
      expect(deleted.reduce((sum, count) => sum + count, 0)).toBe(rows);
    }, 40_000);
  });
});
