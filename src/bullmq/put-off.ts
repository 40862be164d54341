import { DelayedError } from 'bullmq';
import { IdempotencyError, type IdempotencyCode } from '../engine/errors.js';
import type { QueuedJob } from './queued-job.js';

/** Nothing was run, and nothing is wrong with the job: it only came too early. */
const TOO_EARLY: readonly IdempotencyCode[] = [
  'IDEMPOTENCY_IN_PROGRESS',
  'IDEMPOTENCY_SHUTTING_DOWN',
  'IDEMPOTENCY_STORE_UNAVAILABLE',
];

/**
 * Lets a job that was refused come again later, which takes none of its attempts.
 *
 * @throws `DelayedError` of BullMQ when the job was moved; else the refusal.
 */
export async function putOff(refusal: unknown, args: readonly unknown[]): Promise<never> {
  const [job, token] = args as [QueuedJob | undefined, unknown];
  const lock = typeof token === 'string' ? token : job?.token;
  // without a lock no worker runs it, and who called would not understand BullMQ's word for it
  if (job === undefined || lock === undefined || !isTooEarly(refusal)) {
    throw refusal;
  }
  await job.moveToDelayed(Date.now() + (refusal.retryAfterSeconds ?? 1) * 1_000, lock);
  throw new DelayedError();
}

function isTooEarly(refusal: unknown): refusal is IdempotencyError {
  return refusal instanceof IdempotencyError && TOO_EARLY.includes(refusal.code);
}
