/** What the compiler accepts and refuses as a client of `redisStore()`. `npm run typecheck` is the test. */
import { Cluster, Redis } from 'ioredis';
import { Redis as Valkey } from 'iovalkey';
import { redisStore } from 'nestjs-idempotency/redis';
import { createClient, createClientPool, createCluster, createSentinel } from 'redis';

export const stores = [
  redisStore({ client: new Redis() }),
  redisStore({ client: new Cluster([]), prefix: 'orders' }),
  redisStore({ client: new Valkey() }),
  redisStore({ client: createClient() }),
  redisStore({ client: createClient({ RESP: 3 }) }),
  redisStore({ client: createClientPool() }),
  redisStore({ client: createCluster({ rootNodes: [] }) }),
  redisStore({ client: createSentinel({ name: 'main', sentinelRootNodes: [] }) }),
  // @ts-expect-error no client
  redisStore({ client: new Map<string, string>() }),
  // @ts-expect-error a client is needed
  redisStore({}),
];
