import { IdempotencyError } from '../../engine/errors.js';

const TWICE = 'and an operation whose record is gone runs again when it is retried';

/**
 * Whether the servers keep what they were given.
 *
 * @param told eviction policy and `1` for an append-only file, of the server of every shard; empty where it did not say
 * @returns what should be known before they are relied on
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when a server may drop records
 */
export function checkServers(told: readonly (readonly [Buffer, Buffer])[]): string[] {
  const policies = new Set(told.map(([policy]) => String(policy)));
  const evicting = [...policies].find((policy) => policy.startsWith('allkeys-'));
  if (evicting !== undefined) {
    throw new IdempotencyError(
      'IDEMPOTENCY_MISCONFIGURED',
      `redisStore(): the Redis server drops records when its memory is full (maxmemory-policy ${evicting}), ${TWICE}. ` +
        'Set maxmemory-policy noeviction, or keep records on another server than the cache.',
    );
  }
  const warnings: string[] = [];
  if (policies.has('')) {
    warnings.push(
      'The Redis server does not tell its maxmemory-policy (INFO is not allowed). See to it that it is noeviction: ' +
        `any other one may drop records, ${TWICE}.`,
    );
  }
  const volatile = [...policies].find((policy) => policy.startsWith('volatile-'));
  if (volatile !== undefined) {
    warnings.push(
      `The Redis server drops keys with a time to live when its memory is full (maxmemory-policy ${volatile}). ` +
        'Records have none and stay. Set maxmemory-policy noeviction, so that nobody can give them one.',
    );
  }
  if (told.some(([, appends]) => String(appends) === '0')) {
    warnings.push(
      'The Redis server keeps no append-only file (appendonly no): a restart loses records that it has ' +
        `acknowledged, ${TWICE}. Set appendonly yes.`,
    );
  }
  return warnings;
}
