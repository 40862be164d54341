import { IdempotencyError } from '../engine/errors.js';
import { pause } from '../engine/timing.js';
import type { Dialect } from '../stores/typeorm/dialects/dialect.js';
import { driverError, safeCause } from '../stores/typeorm/errors.js';

const RETRIES = 5;

/** Sends a statement again when others were in the way, and turns what the driver says into an error of ours. */
export async function persistently<T>(dialect: Dialect, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!dialect.isTransient(driverError(error)) || attempt > RETRIES) {
        throw storeUnavailable(error);
      }
    }
    await pause(Math.random() * 10 * attempt);
  }
}

export function storeUnavailable(error: unknown): IdempotencyError {
  return error instanceof IdempotencyError
    ? error
    : new IdempotencyError(
        'IDEMPOTENCY_STORE_UNAVAILABLE',
        'The database of the outbox did not answer. Check that it is reachable and can be written, then try again.',
        { cause: safeCause(error), retryAfterSeconds: 1 },
      );
}
