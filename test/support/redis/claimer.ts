/** One of several processes with a store on the same server. */
import { Redis } from 'ioredis';
import { redisStore } from '../../../src/stores/redis/index.js';
import { answerClaims } from '../claim-process.js';

const client = new Redis(Number(process.argv[2]), '127.0.0.1');
const store = redisStore({ client });
await store.init();
answerClaims(store, () => client.disconnect());
