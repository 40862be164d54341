import { storeUnavailable } from './answers.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import type { Operation } from './operation.js';
import { within } from './timing.js';

/** Room is made when a record expires or an operation fails, and nobody knows when that is. */
const RETRY_AFTER_SECONDS = 60;

type Store = Pick<EngineOptions, 'store' | 'storeTimeoutMs'>;

/**
 * Turns a new key away whose caller has as many as may be, before anything is written: a caller who goes on sending
 * must not fill the table with what was refused.
 *
 * @throws IdempotencyError `…_TOO_MANY_KEYS`, `…_STORE_UNAVAILABLE`
 */
export async function refuseAtLimit(options: Store, operation: Operation): Promise<void> {
  const { maxKeysPerScope: most, id } = operation;
  if (most === undefined) {
    return;
  }
  const isFull = (async () =>
    (await options.store.find(id)) === null && (await count(options, operation, most)) >= most)();
  if (await answered(isFull, options.storeTimeoutMs)) {
    throw tooManyKeys();
  }
}

/**
 * Whether a claim that was just won is one too many. Of any number of claims at once the last one that was written
 * sees all the others, so that those who stay are never more than may be.
 *
 * @throws IdempotencyError `…_STORE_UNAVAILABLE`
 */
export async function isOverLimit(
  options: Store,
  operation: Operation,
  timeoutMs: number,
): Promise<boolean> {
  const { maxKeysPerScope: most } = operation;
  return (
    most !== undefined && (await answered(count(options, operation, most + 1), timeoutMs)) > most
  );
}

export function tooManyKeys(): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TOO_MANY_KEYS',
    'There are as many keys in use as one caller may have, and nothing was run. Try again with the same key when ' +
      'others have expired.',
    { retryAfterSeconds: RETRY_AFTER_SECONDS },
  );
}

function count({ store }: Store, { identity }: Operation, upTo: number): Promise<number> {
  return store.countRecords({ scope: identity.scope }, upTo);
}

async function answered<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  try {
    return await within(timeoutMs, answer);
  } catch (error) {
    throw storeUnavailable(error);
  }
}
