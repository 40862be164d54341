import { IdempotencyError } from '../../engine/errors.js';

/** What may be seen of a client's error is its text: ioredis keeps the whole command in it, and with that the response. */
export function unavailable(error: unknown): IdempotencyError {
  const { message = String(error) } = Object(error) as { message?: string };
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    'The idempotency store did not answer. Check that its Redis server is reachable, that the client is ' +
      'connected, and that it may run scripts and write, then try again.',
    { cause: new Error(message) },
  );
}
