import { describeIdempotencyStore } from '../../src/testing/index.js';
import { checkStore } from '../support/model/check-store.js';
import { clients, type OpenClient } from '../support/redis/clients.js';
import { describeServers, startRedis, type RedisServer } from '../support/redis/servers.js';
import { steadyStore } from '../support/redis/steady-store.js';

describeServers('redisStore() on %s', (binary) => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({}, binary);
  });
  afterAll(() => server.stop());

  describe.each(['ioredis', 'node-redis'] as const)('with %s', (name) => {
    let client: OpenClient;
    beforeAll(async () => {
      client = await clients[name](server.port);
    });
    afterAll(() => client.close());

    describeIdempotencyStore(name, () => steadyStore(server, client));

    it('behaves like the model in every history', async () => {
      const { store, advance } = await steadyStore(server, client);
      const create = async () => {
        await steadyStore(server, client);
        return { store, advance };
      };
      await checkStore(create, { numRuns: 60 });
    }, 120_000);
  });
});
