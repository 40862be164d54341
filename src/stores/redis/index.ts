export { redisStore } from './redis-store.js';
export type { RedisStoreOptions } from './redis-store.js';
export type { IoRedisClient, NodeRedisClient, RedisClient } from './client.js';
