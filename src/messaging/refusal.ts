import type { IdempotencyCode } from '../engine/errors.js';

/**
 * What a message is worth to which nothing was done:
 * - `done`: it was processed before; only its result is gone, which an event does not need.
 * - `later`: it must come again, also when somebody has to correct the application first.
 * - `never`: it would be turned away each time it came.
 * - `wrong`: sender and handler do not fit together, and somebody has to see that.
 */
export type Refusal = 'done' | 'later' | 'never' | 'wrong';

export function refusalOf(code: IdempotencyCode): Refusal {
  switch (code) {
    case 'IDEMPOTENCY_RESULT_UNAVAILABLE':
    case 'IDEMPOTENCY_REPLAY_FORBIDDEN':
      return 'done';
    case 'IDEMPOTENCY_KEY_EXPIRED':
    case 'IDEMPOTENCY_OUTCOME_UNCERTAIN':
    case 'IDEMPOTENCY_PARKED':
    case 'IDEMPOTENCY_RECORD_UNREADABLE':
      return 'never';
    case 'IDEMPOTENCY_KEY_MISSING':
    case 'IDEMPOTENCY_KEY_INVALID':
    case 'IDEMPOTENCY_KEY_REUSED':
      return 'wrong';
    default:
      return 'later';
  }
}
