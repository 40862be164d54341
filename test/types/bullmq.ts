/** What the compiler accepts and refuses of `@IdempotentJob()`. `npm run typecheck` is the test. */
import type { Job } from 'bullmq';
import { IdempotentJob, jobKey } from 'nestjs-idempotency/bullmq';

interface Payout {
  readonly company: string;
}

export class Jobs {
  @IdempotentJob()
  async plain(job: Job): Promise<string> {
    return jobKey(job);
  }

  @IdempotentJob({ mode: 'transactional', ttl: '30d' })
  async withToken(_job: Job<Payout>, _token?: string): Promise<void> {}

  @IdempotentJob({
    key: (job: Job<Payout>) => job.data.company,
    scope: (job: Job<Payout>) => job.name,
    payload: (job: Job<Payout>) => job.data,
  })
  async named(_job: Job<Payout>): Promise<void> {}

  // @ts-expect-error its first argument is no job
  @IdempotentJob()
  async noJob(_id: string): Promise<void> {}

  // @ts-expect-error the key is of another job's data
  @IdempotentJob({ key: (job: Job<{ period: string }>) => job.data.period })
  async otherData(_job: Job<Payout>): Promise<void> {}

  // @ts-expect-error it returns no promise
  @IdempotentJob()
  now(_job: Job): string {
    return '';
  }
}

// @ts-expect-error a key is text
IdempotentJob({ key: (job: Job) => job.timestamp });
// @ts-expect-error BullMQ has attempts and a backoff of its own
IdempotentJob({ attempts: { max: 2, backoff: '1s' } });
// @ts-expect-error there is no such option
IdempotentJob({ header: 'Idempotency-Key' });
