import { decorateMethod } from '../methods/decorate-method.js';
import type {
  AnyMethodOptions,
  AsFarAs,
  IdempotentMethodOptions,
} from '../methods/method-options.js';
import { isRecord, show } from '../option-values.js';
import { misconfigured } from '../options-check.js';
import { jobKey } from './job-key.js';
import { putOff } from './put-off.js';
import type { QueuedJob } from './queued-job.js';

/** Options of `@IdempotentJob()`: those of `@Idempotent({ key })`, except that there is a key by default. */
export interface IdempotentJobOptions<
  KeyArgs extends unknown[] = never[],
  ScopeArgs extends unknown[] = never[],
  PayloadArgs extends unknown[] = never[],
> extends Omit<IdempotentMethodOptions<KeyArgs, ScopeArgs, PayloadArgs>, 'key'> {
  /**
   * Names what the job does, for example an order: jobs with the same key are done once, whichever their ids and
   * queues are. 1 to 4,000 characters.
   * @default jobKey: each job is done once
   */
  readonly key?: (...args: KeyArgs) => string;
}

/** Decorates methods that return a promise and whose first parameter is a job. */
export type IdempotentJobDecorator<
  KeyArgs extends unknown[],
  ScopeArgs extends unknown[],
  PayloadArgs extends unknown[],
> = <
  Args extends [job: QueuedJob, ...rest: unknown[]] &
    AsFarAs<KeyArgs> &
    AsFarAs<ScopeArgs> &
    AsFarAs<PayloadArgs>,
  Result,
>(
  target: object,
  name: string | symbol,
  descriptor: TypedPropertyDescriptor<(...args: Args) => Promise<Result>>,
) => void;

/**
 * Makes BullMQ's `process(job)`, or another method whose first argument is a job, safe to retry: a job that
 * stalls, is delivered twice or added twice is done once, and every job with its key gets the first result.
 *
 * While another worker is at it, the application closes or the store does not answer, nothing is run: the job is
 * moved to delayed and takes no attempt. What the method throws fails the job as ever, and releases the key.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` while the class is defined, for an unknown or impossible
 *   option. A call throws what `@Idempotent({ key })` does, or `DelayedError` when the job was moved.
 */
export function IdempotentJob<
  KeyArgs extends unknown[],
  ScopeArgs extends unknown[],
  PayloadArgs extends unknown[],
>(
  options: IdempotentJobOptions<KeyArgs, ScopeArgs, PayloadArgs> = {},
): IdempotentJobDecorator<KeyArgs, ScopeArgs, PayloadArgs> {
  if (arguments.length > 1 || typeof options === 'function') {
    throw misconfigured('@IdempotentJob', 'the parentheses are missing. Write @IdempotentJob().');
  }
  if (!isRecord(options)) {
    throw misconfigured(
      '@IdempotentJob()',
      `the options are ${show(options)}. Write an object, or nothing.`,
    );
  }
  return (target, name, descriptor) =>
    decorateMethod({ key: jobKey, ...options } as AnyMethodOptions, target, name, descriptor, {
      decorator: '@IdempotentJob()',
      onRefusal: putOff,
    });
}
