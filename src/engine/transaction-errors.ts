import { IdempotencyError } from './errors.js';
import type { StoreTransaction } from './store.js';

/** Why a transaction that was not committed was not, and whether to try again. */
export function broken(cause: unknown, transaction: StoreTransaction): IdempotencyError {
  if (cause instanceof IdempotencyError) {
    return cause;
  }
  if (transaction.isConflict(cause)) {
    return conflict(cause);
  }
  if (!transaction.isRefusal(cause)) {
    return notCommitted(cause);
  }
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_BROKEN',
    'The handler succeeded, but its transaction could not be completed, and was rolled back. Let errors of ' +
      'the database reach the end of the handler: after one of them nothing can be committed.',
    { cause },
  );
}

export function conflict(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_CONFLICT',
    'The request met another one that changed the same data, and was rolled back. Try again with the same key.',
    { cause, retryAfterSeconds: 1 },
  );
}

export function notCommitted(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    'The request could not be committed, and nothing of it was kept. Try again with the same key.',
    { cause, retryAfterSeconds: 1 },
  );
}
