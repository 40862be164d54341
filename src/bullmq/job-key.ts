import { show } from '../option-values.js';
import { misconfigured } from '../options-check.js';
import type { QueuedJob } from './queued-job.js';

/** BullMQ counts the jobs of a queue, and refuses such an id to applications. */
const COUNTED = /^[1-9]\d*$/;

/**
 * The key of a job unless another is given: its key in Redis, `prefix:queue:id`. Where BullMQ counted the id,
 * `:timestamp` follows, because a queue that was emptied counts from 1 again. For look-ups:
 * `find({ operation: 'PayoutProcessor.process', key: jobKey(job) })`.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for what is no job of a queue.
 */
export function jobKey(job: Pick<QueuedJob, 'id' | 'queueQualifiedName' | 'timestamp'>): string {
  const { id, queueQualifiedName, timestamp } = Object(job) as Partial<QueuedJob>;
  if (typeof id !== 'string' || typeof queueQualifiedName !== 'string') {
    throw misconfigured(
      'jobKey()',
      `${show(job)} is no job of a queue. Give the method that has @IdempotentJob() the job as its first ` +
        'argument, or write @Idempotent({ key }).',
    );
  }
  return `${queueQualifiedName}:${id}${COUNTED.test(id) ? `:${timestamp}` : ''}`;
}
