import 'reflect-metadata';
import { Controller, Logger, Post } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type ExecuteOptions,
} from 'nestjs-idempotency';
import { DelayedError } from 'bullmq';
import { availableStores, startServiceApp, type ServiceApp } from '../support/service-app.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(availableStores('memory', 'sqlite', 'postgres', 'mariadb', 'mysql'))(
  'attempts of execute() over %s',
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

    const attempt = (error?: Error, options: Partial<ExecuteOptions> = {}): Promise<unknown> =>
      service
        .execute({ key, attempts: { max: 2 }, ...options }, () => {
          runs += 1;
          if (error !== undefined) throw error;
          return 'done';
        })
        .catch((thrown: { code?: string; message: string }) => thrown.code ?? thrown.message);

    const parked = async () => {
      const records = await service.list({ state: 'parked', limit: 1_000 });
      return records.find((record) => record.key === key);
    };

    it('fail, are parked with their last error, and are listed', async () => {
      expect(await attempt(new Error('first'))).toBe('first');
      expect(await parked()).toBeUndefined();
      expect(await attempt(new RangeError('second'))).toBe('second');
      expect(await attempt()).toBe('IDEMPOTENCY_PARKED');
      expect(runs).toBe(2);
      const lastError = { name: 'RangeError', message: 'second' };
      expect(await parked()).toMatchObject({ state: 'parked', attemptsStarted: 2, lastError });
      expect(await service.find({ key })).toMatchObject({ state: 'parked', lastError });
      expect(await service.resolve({ key }, 'absent')).toBe(false);
    });

    it('are redriven', async () => {
      await attempt(new Error('x'), { attempts: { max: 1 } });
      expect(await service.redrive({ key })).toBe(true);
      expect(await service.redrive({ key })).toBe(false);
      expect(await attempt(new Error('again'))).toBe('again');
      expect(await attempt()).toBe('done');
      expect(await service.find({ key })).toMatchObject({ state: 'completed', lastError: null });
    });

    it('are discarded', async () => {
      await attempt(new Error('x'), { attempts: { max: 1 } });
      expect(await service.discard({ key })).toBe(true);
      expect(await service.discard({ key })).toBe(false);
      expect(await attempt()).toBe('IDEMPOTENCY_RESULT_UNAVAILABLE');
    });

    it('stay discarded for as long as a key from a clock that is ahead passes for a new one', async () => {
      const made = Date.now() + 3_600_000;
      const hex = made.toString(16).padStart(12, '0');
      key = `${hex.slice(0, 8)}-${hex.slice(8)}-7abc-8abc-${String((keys += 1)).padStart(12, '0')}`;
      await attempt(new Error('x'), { attempts: { max: 1 } });
      await service.discard({ key });
      const { expiresAt } = (await service.find({ key })) as { expiresAt: Date };
      expect(expiresAt.getTime()).toBeGreaterThanOrEqual(made + 86_400_000);
    });

    it('are not counted when the error is a word to the framework, whatever the policy', async () => {
      for (let n = 0; n < 5; n += 1) {
        expect(await attempt(new DelayedError(), { errors: 'store-all' })).toBe(
          'bullmq:movedToDelayed',
        );
      }
      expect(await attempt()).toBe('done');
      expect(runs).toBe(6);
    });

    it('does not redrive or discard what is not parked', async () => {
      await attempt();
      expect(await service.redrive({ key })).toBe(false);
      expect(await service.discard({ key })).toBe(false);
    });

    if (dialect !== 'memory') {
      it('count in a transaction, which is undone', async () => {
        const options = { mode: 'transactional' as const };
        expect(await attempt(new Error('first'), options)).toBe('first');
        expect(await attempt(new Error('second'), options)).toBe('second');
        expect(await attempt(undefined, options)).toBe('IDEMPOTENCY_PARKED');
        expect(await parked()).toMatchObject({ attemptsStarted: 2, lastError: { name: 'Error' } });
        await service.redrive({ key });
        expect(await attempt(undefined, options)).toBe('done');
        expect(runs).toBe(3);
      });
    }
  },
);

describe('option attempts', () => {
  const start = async (controllers: (new () => object)[], options = {}) => {
    const module = await Test.createTestingModule({
      controllers,
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), ...options })],
    }).compile();
    await module.init();
    return module;
  };

  it('is refused on a route at startup', async () => {
    @Controller()
    class Orders {
      @Post()
      @Idempotent({ attempts: { max: 3 } })
      place() {}
    }
    await expect(start([Orders])).rejects.toThrow(
      /Orders\.place.*'attempts'.*an HTTP client decides itself how often it tries/,
    );
  });

  it('of the module leaves routes alone', async () => {
    @Controller()
    class Orders {
      @Post()
      @Idempotent()
      place() {}
    }
    const module = await start([Orders], { attempts: { max: 3 } });
    await module.close();
  });

  it.each([
    [
      { max: 2, backoff: '1s' },
      /'attempts\.backoff' is for the delivery of messages.*write \{ max \}/,
    ],
    [{ max: 2, onExhausted: 'park' }, /'attempts\.onExhausted' is for the delivery of messages/],
  ])('%j is refused where nothing is delivered', async (attempts, sentence) => {
    const module = await start([], { attempts });
    const options = { key: 'k', attempts } as unknown as ExecuteOptions;
    const execute = module.get(IdempotencyService).execute(options, () => 1);
    await expect(execute).rejects.toThrow(sentence);
    await module.close();
    const decorate = () => Idempotent({ key: () => 'k', attempts } as never);
    expect(() => {
      class Payments {
        @decorate()
        async pay(): Promise<void> {}
      }
      return Payments;
    }).toThrow(sentence);
  });

  it.each([
    [5, /option 'attempts' is 5\. Write an object/],
    [{}, /does not say how many/],
    [{ max: 0 }, /option 'attempts\.max' is 0/],
    [{ max: 2, backoff: 'soon' }, /option 'attempts\.backoff' is 'soon'/],
    [{ max: 2, onExhausted: 'drop' }, /'park' or 'dead-letter'/],
    [{ max: 2, retries: 1 }, /there is no option 'attempts\.retries'/],
  ])('%j is refused with a sentence', async (attempts, sentence) => {
    await expect(start([], { attempts })).rejects.toThrow(sentence);
    const module = await start([]);
    const service = module.get(IdempotencyService);
    const options = { key: 'k', attempts } as unknown as ExecuteOptions;
    await expect(service.execute(options, () => 1)).rejects.toThrow(sentence);
    await module.close();
  });
});
