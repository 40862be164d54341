import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** This library's store. */
export async function redisStoreOn(url) {
  const { redisStore } = await import('nestjs-idempotency/redis');
  const { Redis } = require('ioredis');
  return redisStore({ client: new Redis(url) });
}

/** The client of the others. */
export async function redisClient(url) {
  const { createClient } = require('redis');
  const client = createClient({ url });
  await client.connect();
  return client;
}
