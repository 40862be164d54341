import type { IdempotencyStore } from '../../engine/store.js';
import { show, type Check } from '../../option-values.js';
import { checkEach, misconfigured } from '../../options-check.js';
import { connectionOf, type RedisClient } from './client.js';
import { RedisStore } from './redis.store.js';

export interface RedisStoreOptions {
  /**
   * A client of `ioredis` 5, `iovalkey`, or `redis` 5 or 6, for one server, a Sentinel set-up or a Cluster. The
   * application connects it, and closes it.
   */
  readonly client: RedisClient;
  /**
   * What the names of all keys begin with.
   * @default 'idempotency'
   */
  readonly prefix?: string;
}

const WHERE = 'redisStore()';

const CHECKS: Record<keyof RedisStoreOptions, Check> = {
  client: () => undefined,
  prefix: (value) =>
    typeof value === 'string' && /^[^{}]+$/.test(value)
      ? undefined
      : "Write a name without braces, for example 'orders'.",
};

/**
 * A store on Redis or Valkey, alone, behind Sentinel or in a Cluster, for `store` of `IdempotencyModule.forRoot()`. For
 * `mode: 'lease'`: it has no transactions. What a failover loses, it loses too: see the guide on Redis.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an unknown option, or a client that is none. Its `init()`
 *   throws that too when the server may evict records.
 */
export function redisStore(options: RedisStoreOptions): IdempotencyStore {
  checkEach(CHECKS, Object(options) as object, WHERE);
  const { client, prefix = 'idempotency' } = Object(options) as RedisStoreOptions;
  const connection = connectionOf(client);
  if (connection === undefined) {
    throw misconfigured(
      WHERE,
      `option 'client' is ${show(client)}. Write a client of ioredis (new Redis(), new Cluster()), or one of the ` +
        'package redis, version 5 or later (await createClient().connect()).',
    );
  }
  return new RedisStore(connection, prefix);
}
