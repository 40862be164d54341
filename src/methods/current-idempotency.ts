import { calls } from '../call-context.js';
import type { IdempotencyContext } from '../engine/attempt.js';
import { misconfigured } from '../options-check.js';

/**
 * The `IdempotencyContext` of the operation that the code now running belongs to, however deep inside of it:
 * attempt, fence, abort signal, derived keys. In a route, `@CurrentIdempotency()` gives the same.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` outside of an operation, and in a request that runs
 *   without a key.
 */
export function currentIdempotency(): IdempotencyContext {
  const call = calls.getStore();
  if (call?.isShared === true) {
    throw misconfigured(
      'currentIdempotency()',
      'the code works on many items of a batch at once, each of which has one. Use the once of the item.',
    );
  }
  const once = call?.once;
  if (once === undefined) {
    throw misconfigured(
      'currentIdempotency()',
      'no idempotent operation is running here. Call it inside of a method with @Idempotent({ key }), of ' +
        'a route with @Idempotent() and a key, or of the function given to IdempotencyService.execute().',
    );
  }
  return once;
}
