import { DelayedError, UnrecoverableError } from 'bullmq';
import { IdempotencyError, type IdempotencyCode } from '../engine/errors.js';
import type { QueuedJob } from './queued-job.js';

/** Nothing was run, and nothing is wrong with the job: it only came too early. */
const TOO_EARLY: readonly IdempotencyCode[] = [
  'IDEMPOTENCY_IN_PROGRESS',
  'IDEMPOTENCY_SHUTTING_DOWN',
  'IDEMPOTENCY_STORE_UNAVAILABLE',
];

/** It would be refused each time, and its remaining attempts would change nothing. */
const FOR_GOOD: readonly IdempotencyCode[] = ['IDEMPOTENCY_PARKED', 'IDEMPOTENCY_KEY_REUSED'];

/**
 * Lets a job that was refused come again later, which takes none of its attempts, or ends it.
 *
 * @throws `DelayedError` of BullMQ when the job was moved; `UnrecoverableError` when it never will be done; else the
 *   refusal.
 */
export async function putOff(refusal: unknown, args: readonly unknown[]): Promise<never> {
  const [job, token] = args as [QueuedJob | undefined, unknown];
  const lock = typeof token === 'string' ? token : job?.token;
  // without a lock no worker runs it, and who called would not understand BullMQ's word for it
  if (job === undefined || lock === undefined) {
    throw refusal;
  }
  if (isOneOf(FOR_GOOD, refusal)) {
    throw new UnrecoverableError(`${refusal.code}: ${refusal.message}`);
  }
  if (!isOneOf(TOO_EARLY, refusal)) {
    throw refusal;
  }
  await job.moveToDelayed(Date.now() + (refusal.retryAfterSeconds ?? 1) * 1_000, lock);
  throw new DelayedError();
}

function isOneOf(codes: readonly IdempotencyCode[], refusal: unknown): refusal is IdempotencyError {
  return refusal instanceof IdempotencyError && codes.includes(refusal.code);
}
