import { IdempotencyError } from '../engine/errors.js';
import type { Dialect } from '../stores/typeorm/dialects/dialect.js';
import { safeCause } from '../stores/typeorm/errors.js';
import * as store from '../stores/typeorm/persistently.js';

/** Sends a statement again when others were in the way, and turns what the driver says into an error of ours. */
export function persistently<T>(dialect: Dialect, work: () => Promise<T>): Promise<T> {
  return store.persistently(dialect.errors, work, storeUnavailable);
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
