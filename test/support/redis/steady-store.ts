import type { IdempotencyStore } from '../../../src/engine/store.js';
import { connectionOf } from '../../../src/stores/redis/client.js';
import { RedisStore } from '../../../src/stores/redis/redis.store.js';
import type { OpenClient } from './clients.js';
import type { RedisServer } from './servers.js';

/** A key for the clock, so that it can stand still. */
const CLOCK = "tonumber(redis.call('GET', 'clock'))";
const FORGET_RECORDS = `
for _, key in ipairs(redis.call('KEYS', 'steady:*')) do
  if not string.find(key, 'fence') then redis.call('DEL', key) end
end
redis.call('SET', 'clock', '1700000000000', 'NX')`;

export interface SteadyStore {
  readonly store: IdempotencyStore;
  advance(ms: number): Promise<void>;
}

/** A store without records. Clock and fences go on from the one before. */
export async function steadyStore(
  { admin }: RedisServer,
  { client }: OpenClient,
): Promise<SteadyStore> {
  await admin.eval(FORGET_RECORDS, 0);
  return {
    store: new RedisStore(connectionOf(client)!, 'steady', CLOCK),
    async advance(ms) {
      await admin.incrby('clock', ms);
    },
  };
}
