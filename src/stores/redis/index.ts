export { redisStore } from './create-store.js';
export type { RedisStoreOptions } from './create-store.js';
export type { IoRedisClient, NodeRedisClient, RedisClient } from './client.js';
