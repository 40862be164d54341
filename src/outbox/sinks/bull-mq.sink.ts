import type { InjectionToken } from '@nestjs/common';
import { show } from '../../option-values.js';
import { misconfigured } from '../../options-check.js';
import type { Sink } from '../message.js';

/** What is used of a BullMQ `Queue`. */
export interface JobQueue {
  add(name: string, data: unknown, options: { readonly jobId: string }): Promise<unknown>;
}

/**
 * Adds messages to a BullMQ queue: the pattern is the name of the job, the payload its data, and the id its
 * `jobId`, so that a message that is sent again is no second job as long as the first one is there. Headers do not
 * travel.
 *
 * @param queue the queue, or its token: `getQueueToken('name')` of `@nestjs/bullmq`
 */
export function bullMqSink(queue: JobQueue | InjectionToken): Sink {
  let target: JobQueue;
  return {
    open(resolve) {
      const found = isQueue(queue) ? queue : resolve(queue);
      if (!isQueue(found)) {
        throw misconfigured(
          'bullMqSink()',
          `the provider is ${show(found)}. Give the token of a queue.`,
        );
      }
      target = found;
    },
    async publish({ id, pattern, payload }) {
      await target.add(pattern, payload, { jobId: jobId(id) });
    },
  };
}

function isQueue(queue: unknown): queue is JobQueue {
  return typeof (Object(queue) as Partial<JobQueue>).add === 'function';
}

/** BullMQ has ids of its own that are integers, and keys in which a colon separates. */
export function jobId(id: string): string {
  return /^\d+$/.test(id) || id.includes(':') ? `message-${id.replaceAll(':', '%3A')}` : id;
}
