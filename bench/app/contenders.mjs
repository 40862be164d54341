import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { getDataSourceToken } from '@nestjs/typeorm';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { expressIdempotency, nodeIdempotency, powertools } from './peers.mjs';
import { memoryCache, naive } from './naive.interceptor.mjs';
import { redisClient, redisStoreOn } from './redis.mjs';
import { twoStatements } from './two-statements.interceptor.mjs';

/**
 * The modules to import, the decorators to put on the handler or its class, and perhaps a middleware.
 *
 * `guard`: `none`; `memory`, `typeorm` and `redis` (this library); `node-idempotency-memory`, `node-idempotency-redis`,
 * `express-idempotency`, `powertools-redis`, `naive-memory`, `naive-redis`, `two-statements`. `idempotent`: what
 * `@Idempotent()` of this library is given; `false` leaves it out. `module`: what its module is given besides.
 */
export async function contender({ guard, redis, database, idempotent, module, microBatch }) {
  switch (guard) {
    case 'none':
      return { imports: [], decorators: [] };
    case 'memory':
      return ours({ store: memoryStore(), ...module }, idempotent);
    case 'typeorm':
      return ours(
        microBatch === undefined ? module : { ...module, store: typeOrm({ microBatch }) },
        idempotent,
      );
    case 'redis':
      return ours({ store: await redisStoreOn(redis), ...module }, idempotent);
    case 'node-idempotency-memory':
      return nodeIdempotency({ adapter: 'memory' });
    case 'node-idempotency-redis':
      return nodeIdempotency({ adapter: 'redis', options: { url: redis } });
    case 'express-idempotency':
      return expressIdempotency();
    case 'powertools-redis':
      return powertools(await redisClient(redis));
    case 'naive-memory':
      return { imports: [], decorators: [naive(memoryCache())] };
    case 'naive-redis':
      return { imports: [], decorators: [naive(await redisClient(redis))] };
    case 'two-statements':
      return { imports: [], decorators: [twoStatements(database.url)] };
    default:
      throw new Error(`There is no contender '${guard}'.`);
  }
}

/** Defaults but for what is measured; cleanup runs when the benchmark asks for it. */
function ours(module, idempotent = {}) {
  const options = { cleanup: false, startupReport: false, ...module };
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
