export {
  IdempotentJob,
  type IdempotentJobDecorator,
  type IdempotentJobOptions,
} from './idempotent-job.decorator.js';
export { jobKey } from './job-key.js';
export type { QueuedJob } from './queued-job.js';
