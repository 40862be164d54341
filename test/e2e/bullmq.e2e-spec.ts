import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { Inject, Injectable } from '@nestjs/common';
import {
  DelayedError,
  RateLimitError,
  UnrecoverableError,
  WaitingChildrenError,
  WaitingError,
  type Job,
} from 'bullmq';
import {
  currentIdempotency,
  IdempotencyError,
  IdempotencyService,
  Idempotent,
  memoryStore,
} from 'nestjs-idempotency';
import { IdempotentJob, jobKey } from 'nestjs-idempotency/bullmq';
import { TestGate } from '../support/gate.js';
import { eventually } from '../support/http.js';
import { hasRedis, JobStage } from '../support/jobs.js';

interface Payout {
  readonly company: string;
}

let stage: JobStage;
let gate: TestGate;
let runs: string[];
/** What the first runs throw, in order. */
let thrown: ((job: Job, token: string) => unknown)[];

/** What every processor here does. */
async function pay(job: Job<Payout>): Promise<{ paid: string; at: number; attempt: number }> {
  runs.push(`${job.data.company} ${job.id}`);
  await gate.pass();
  const fail = thrown.shift();
  if (fail !== undefined) throw await fail(job, job.token!);
  return { paid: job.data.company, at: runs.length, attempt: currentIdempotency().attempt };
}

@Processor('payouts', { concurrency: 4 })
class PayoutProcessor extends WorkerHost {
  @IdempotentJob()
  override async process(job: Job<Payout>): Promise<object> {
    return pay(job);
  }
}

@Processor('payouts', { concurrency: 4 })
class CompanyProcessor extends WorkerHost {
  @IdempotentJob({ key: (job: Job<Payout>) => job.data.company })
  override async process(job: Job<Payout>): Promise<object> {
    return pay(job);
  }
}

const add = (id: string | undefined, options: object = {}, queue?: string): Promise<Job<Payout>> =>
  stage.queue(queue).add('payout', { company: 'acme' }, { ...(id && { jobId: id }), ...options });
const reload = async (job: Job): Promise<Job> =>
  (await stage.queue(job.queueName).getJob(job.id!))!;

(hasRedis ? describe : describe.skip)('@IdempotentJob()', () => {
  beforeEach(() => {
    stage = new JobStage(['payouts', 'imports']);
    gate = new TestGate();
    runs = [];
    thrown = [];
  });
  afterEach(async () => {
    gate.open();
    await stage.close();
  });

  describe('without a key', () => {
    beforeEach(() => gate.open());

    it('a job that is added again after it was removed is not done again, and has the first result', async () => {
      await stage.start([PayoutProcessor]);
      const first = await add('order-1');
      const result = await stage.result(first);
      await first.remove();
      expect(await stage.result(await add('order-1'))).toEqual(result);
      expect(runs).toEqual(['acme order-1']);
    });

    it('jobs are told apart also when the queue was emptied and counts from 1 again', async () => {
      await stage.start([PayoutProcessor]);
      const first = await add(undefined, { timestamp: 1_000 });
      await stage.result(first);
      await stage.queue().obliterate({ force: true });
      await stage.queue().resume();
      const second = await add(undefined, { timestamp: 2_000 });
      await stage.result(second);
      expect([first.id, second.id]).toEqual(['1', '1']);
      expect(runs).toHaveLength(2);
    });

    it('jobKey() finds the record', async () => {
      const app = await stage.start([PayoutProcessor]);
      for (const job of [await add('order-1'), await add(undefined)]) {
        await stage.result(job);
        const named = { operation: 'PayoutProcessor.process', key: jobKey(job) };
        expect(await app.get(IdempotencyService).find(named)).toMatchObject({ state: 'completed' });
      }
    });

    it('a call without a job is refused', async () => {
      const app = await stage.start([PayoutProcessor]);
      const call = app.get(PayoutProcessor).process({} as Job);
      await expect(call).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
      expect(runs).toEqual([]);
    });
  });

  it('jobs with one business key are done once, whatever their ids and queues', async () => {
    @Injectable()
    class Payouts {
      @IdempotentJob({ key: (job: Job<Payout>) => job.data.company })
      async pay(job: Job<Payout>): Promise<object> {
        return pay(job);
      }
    }
    class Handing extends WorkerHost {
      @Inject(Payouts) private readonly payouts!: Payouts;
      override process(job: Job<Payout>): Promise<object> {
        return this.payouts.pay(job);
      }
    }
    @Processor('payouts')
    class Fast extends Handing {}
    @Processor('imports')
    class Slow extends Handing {}
    gate.open();
    await stage.start([Payouts, Fast, Slow]);

    const result = await stage.result(await add('one'));
    expect(result).toEqual({ paid: 'acme', at: 1, attempt: 1 });
    expect(await stage.result(await add('two'))).toEqual(result);
    expect(await stage.result(await add('one', {}, 'imports'))).toEqual(result);
    expect(runs).toEqual(['acme one']);
  });

  describe('a job that comes too early', () => {
    it('is delayed while another is at it, and then has its result, with no attempt taken', async () => {
      await stage.start([CompanyProcessor]);
      const first = await add('one');
      await gate.reached;
      const second = await add('two');
      await eventually(() => second.isDelayed(), 'the duplicate is delayed');
      expect(await reload(second)).toMatchObject({ attemptsMade: 0, stacktrace: [] });
      gate.open();
      const result = await stage.result(first);
      expect(await stage.result(second)).toEqual(result);
      expect((await reload(second)).attemptsMade).toBe((await reload(first)).attemptsMade);
      expect(runs).toEqual(['acme one']);
    });

    it('is delayed while the application closes, and done by another', async () => {
      const closing = await stage.start([CompanyProcessor]);
      const first = await add('one');
      await gate.reached;
      const closed = closing.close();
      const probe = (): Promise<boolean> =>
        closing
          .get(IdempotencyService)
          .execute({ key: randomUUID() }, () => false)
          .catch(() => true);
      await eventually(probe, 'nothing new is begun');
      const second = await stage.queue().add('payout', { company: 'other' }, { jobId: 'two' });
      await eventually(() => second.isDelayed(), 'it is delayed');
      gate.open();
      await Promise.all([closed, stage.result(first)]);
      await stage.start([CompanyProcessor]);
      expect(await stage.result(second)).toMatchObject({ paid: 'other' });
      expect(runs).toEqual(['acme one', 'other two']);
    });

    it('is delayed while the store does not answer', async () => {
      let isDown = true;
      const store = memoryStore();
      const claim = store.claim.bind(store);
      store.claim = (...args) =>
        isDown ? Promise.reject(new Error('connection refused')) : claim(...args);
      await stage.start([CompanyProcessor], { store });
      gate.open();
      const job = await add('one');
      await eventually(() => job.isDelayed(), 'it is delayed');
      expect(await reload(job)).toMatchObject({ attemptsMade: 0, stacktrace: [] });
      expect(runs).toEqual([]);
      isDown = false;
      expect(await stage.result(job)).toMatchObject({ paid: 'acme', attempt: 1 });
    });

    it('is told so where no worker runs it', async () => {
      const app = await stage.start([CompanyProcessor]);
      const first = await add('one');
      await gate.reached;
      const call = app.get(CompanyProcessor).process((await reload(first)) as Job<Payout>);
      await expect(call).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
      expect(await first.isActive()).toBe(true);
    });
  });

  it('a refusal that the method itself ran into fails the job', async () => {
    gate.open();
    thrown = [() => new IdempotencyError('IDEMPOTENCY_IN_PROGRESS', 'of an inner call')];
    await stage.start([CompanyProcessor]);
    await expect(stage.result(await add('one'))).rejects.toThrow('of an inner call');
    expect(await stage.queue().getDelayedCount()).toBe(0);
  });

  it('a stalled job, which runs on two workers at once, is done once', async () => {
    const stalling = { lockDuration: 500, stalledInterval: 200, skipLockRenewal: true };
    @Processor('payouts', { concurrency: 2, maxStalledCount: 20, ...stalling })
    class Stalling extends WorkerHost {
      @OnWorkerEvent('error')
      lockIsLost(): void {}

      @IdempotentJob()
      override async process(job: Job<Payout>): Promise<object> {
        return pay(job);
      }
    }
    await stage.start([Stalling]);
    const job = await add('one');
    await gate.reached;
    await eventually(() => job.isDelayed(), 'the second worker had it', 15_000);
    gate.open();
    expect(await stage.result(job)).toEqual({ paid: 'acme', at: 1, attempt: 1 });
    expect(runs).toEqual(['acme one']);
  });

  describe('when the method throws', () => {
    beforeEach(() => gate.open());

    it('a failed job releases its key, and its retry runs', async () => {
      thrown = [() => new Error('the bank is closed')];
      await stage.start([PayoutProcessor]);
      const job = await add('one', { attempts: 2 });
      expect(await stage.result(job)).toMatchObject({ attempt: 2 });
    });

    it.each<[string, (job: Job, token: string) => Promise<Error>]>([
      [
        'DelayedError',
        async (job, token) => {
          await job.moveToDelayed(Date.now() + 50, token);
          return new DelayedError();
        },
      ],
      [
        'WaitingError',
        async (job, token) => {
          await job.moveToWait(token);
          return new WaitingError();
        },
      ],
      [
        'RateLimitError',
        async () => {
          await stage.queue().rateLimit(50);
          return new RateLimitError();
        },
      ],
      [
        'WaitingChildrenError',
        async (job, token) => {
          const parent = { id: job.id!, queue: job.queueQualifiedName };
          await stage.queue().add('payout', { company: 'child' }, { jobId: 'child', parent });
          expect(await job.moveToWaitingChildren(token)).toBe(true);
          return new WaitingChildrenError();
        },
      ],
    ])(
      '%s releases the key uncounted, and the job comes to its one end later',
      async (_, steer) => {
        thrown = [steer];
        await stage.start([PayoutProcessor]);
        const job = await add('one');
        expect(await stage.result(job)).toMatchObject({ paid: 'acme', attempt: 1 });
        expect(runs.filter((run) => run === 'acme one')).toHaveLength(2);
        expect((await reload(job)).stacktrace).toEqual([]);
      },
    );

    it('UnrecoverableError fails the job for good, and a deliberate retry runs', async () => {
      thrown = [() => new UnrecoverableError('no such account')];
      await stage.start([PayoutProcessor]);
      const job = await add('one', { attempts: 5 });
      await expect(stage.result(job)).rejects.toThrow('no such account');
      expect(await job.isFailed()).toBe(true);
      expect(runs).toHaveLength(1);
      await job.retry();
      expect(await stage.result(job)).toMatchObject({ paid: 'acme', attempt: 2 });
    });

    it('UnrecoverableError that is kept fails every duplicate for good', async () => {
      @Processor('payouts')
      class Keeping extends WorkerHost {
        @IdempotentJob({ key: (job: Job<Payout>) => job.data.company, errors: 'store-all' })
        override async process(job: Job<Payout>): Promise<object> {
          return pay(job);
        }
      }
      thrown = [() => new UnrecoverableError('no such account')];
      await stage.start([Keeping]);
      for (const id of ['one', 'two']) {
        const job = await add(id, { attempts: 5 });
        await expect(stage.result(job)).rejects.toThrow('no such account');
        expect((await reload(job)).attemptsMade).toBe(1);
      }
      expect(runs).toEqual(['acme one']);
    });
  });

  it('without the module nothing runs', async () => {
    gate.open();
    await stage.start([PayoutProcessor], 'no module');
    await expect(stage.result(await add('one'))).rejects.toThrow(/no IdempotencyModule is running/);
    expect(runs).toEqual([]);
  });

  it.each([
    [
      'the parentheses are missing',
      () => {
        class Jobs {
          @(IdempotentJob as unknown as MethodDecorator)
          async run(_job: Job): Promise<void> {}
        }
        return Jobs;
      },
    ],
    ['the options are 7', () => IdempotentJob(7 as never)],
    [
      "there is no option 'header'",
      () => {
        class Jobs {
          @IdempotentJob({ header: 'x' } as object)
          async run(_job: Job): Promise<void> {}
        }
        return Jobs;
      },
    ],
    [
      'the method is decorated twice',
      () => {
        class Jobs {
          @IdempotentJob()
          @Idempotent({ key: (job: Job) => job.name })
          async run(_job: Job): Promise<void> {}
        }
        return Jobs;
      },
    ],
  ])('is refused while the class is defined: %s', (sentence, define) => {
    expect(define).toThrow(sentence);
    expect(define).toThrow('@IdempotentJob');
  });
});
