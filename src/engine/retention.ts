import { IdempotencyError } from './errors.js';
import { keyTime } from './key-time.js';
import type { Operation } from './operation.js';

/** Judged after the claim, by the store's clock: a key whose outcome is still kept replays instead. */
export function keyExpired(
  { identity, policy }: Operation,
  now: number,
): IdempotencyError | undefined {
  const made = policy.expiredKeys === 'refuse' ? keyTime(identity.key) : undefined;
  if (made === undefined || made + policy.ttlMs >= now) {
    return undefined;
  }
  return new IdempotencyError(
    'IDEMPOTENCY_KEY_EXPIRED',
    'This key was made longer ago than outcomes are kept, so that it cannot be told whether its ' +
      'request has been done before. Nothing was run. Check the state of the resource, and send a ' +
      'new key if the request is still wanted.',
  );
}
