import { createRequire } from 'node:module';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { getDataSourceToken } from '@nestjs/typeorm';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { memoryCache, naive } from './naive.interceptor.mjs';

const require = createRequire(import.meta.url);

/**
 * The modules to import and the decorators to put on the handler.
 *
 * `guard`: `none`, `memory` and `typeorm` (this library), `node-idempotency-memory`,
 * `node-idempotency-redis`, `naive-memory`, `naive-redis`. `idempotent`: what `@Idempotent()` of this
 * library is given; `false` leaves it out.
 */
export async function contender({ guard, redis, idempotent, microBatch }) {
  switch (guard) {
    case 'none':
      return { imports: [], decorators: [] };
    case 'memory':
      return ours({ store: memoryStore() }, idempotent);
    case 'typeorm':
      return ours(microBatch === undefined ? {} : { store: typeOrm({ microBatch }) }, idempotent);
    case 'node-idempotency-memory':
      return nodeIdempotency({ adapter: 'memory' });
    case 'node-idempotency-redis':
      return nodeIdempotency({ adapter: 'redis', options: { url: redis } });
    case 'naive-memory':
      return { imports: [], decorators: [naive(memoryCache())] };
    case 'naive-redis':
      return { imports: [], decorators: [naive(await redisCache(redis))] };
    default:
      throw new Error(`There is no contender '${guard}'.`);
  }
}

/** Defaults but for what is measured; cleanup runs when the benchmark asks for it. */
function ours({ store }, idempotent = {}) {
  const options = { cleanup: false, ...(store ? { store } : {}) };
  return {
    imports: [IdempotencyModule.forRoot(options)],
    decorators: idempotent === false ? [] : [Idempotent(idempotent)],
  };
}

/** With what is no option, because nobody but a benchmark wants it otherwise. */
function typeOrm(options) {
  return {
    inject: [getDataSourceToken()],
    useFactory: (dataSource) => new TypeOrmStore(dataSource, options),
  };
}

function nodeIdempotency(storage) {
  // CommonJS; loaded only for its own contenders
  const { NodeIdempotencyModule, Idempotent: Once } = require('@node-idempotency/nestjs');
  return { imports: [NodeIdempotencyModule.forRootAsync({ storage })], decorators: [Once()] };
}

async function redisCache(url) {
  const { createClient } = require('redis');
  const client = createClient({ url });
  await client.connect();
  return { get: (key) => client.get(key), set: (key, value) => client.set(key, value) };
}
