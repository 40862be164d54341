import 'reflect-metadata';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Processor, WorkerHost } from '@nestjs/bullmq';
import type { Job } from 'bullmq';
import { currentIdempotency } from 'nestjs-idempotency';
import { IdempotentJob } from 'nestjs-idempotency/bullmq';
import { entityManagerOf, type TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import type { JobWorker } from '../support/job-worker.js';
import { hasRedis, JobStage } from '../support/jobs.js';
import { startProgram } from '../support/program.js';
import { openStore } from '../support/typeorm-stores.js';

const possible = hasRedis && availableDialects().includes('postgres');

(possible ? describe : describe.skip)('a worker that is killed while it has a job', () => {
  let stage: JobStage;
  let database: TestDatabase;
  let store: TypeOrmStore;
  /** Another than the store's, for what is no part of an operation. */
  let dataSource: DataSource;
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    stage = new JobStage();
    database = await createTestDatabase('postgres');
    store = await openStore(database);
    dataSource = await database.open();
    await dataSource.query('CREATE TABLE paid (by text)');
  });
  afterEach(async () => {
    children.splice(0).forEach((child) => child.kill('SIGKILL'));
    await stage.close();
    await database.drop();
  });

  const startToDie = (worker: Pick<JobWorker, 'mode' | 'lease'>): ChildProcess => {
    const { connection, prefix } = stage;
    const given: JobWorker = {
      ...worker,
      connection,
      prefix,
      queue: 'payouts',
      dataSource: database.options,
    };
    const child = startProgram('job-worker', given);
    children.push(child);
    return child;
  };

  it.each(['lease', 'transactional'] as const)(
    'leaves it to another one, which does it once, in mode %s',
    async (mode) => {
      const child = startToDie({ mode, lease: 4_000 });
      // with no attempt to spare: the time that the lease goes on for must not take any
      const job = await stage.queue().add('payout', {}, { jobId: 'one', attempts: 1 });
      expect(await Promise.race([once(child, 'message'), once(child, 'exit')])).toContain(
        'running',
      );

      @Processor('payouts', { stalledInterval: 200, maxStalledCount: 1 })
      class PayoutProcessor extends WorkerHost {
        @IdempotentJob({ mode, lease: 4_000 })
        override async process(_job: Job): Promise<{ attempt: number }> {
          const once = currentIdempotency();
          const db = mode === 'transactional' ? entityManagerOf(once) : dataSource;
          await db.query("INSERT INTO paid VALUES ('by the living')");
          return { attempt: once.attempt };
        }
      }
      child.kill('SIGKILL');
      await once(child, 'exit');
      await stage.start([PayoutProcessor], { store });
      expect(await stage.result(job)).toEqual({ attempt: expect.any(Number) });
      expect(await dataSource.query('SELECT * FROM paid')).toEqual([{ by: 'by the living' }]);
    },
  );
});
