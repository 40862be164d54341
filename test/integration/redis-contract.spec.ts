import { redisStore } from 'nestjs-idempotency/redis';
import { describeIdempotencyStore } from '../../src/testing/index.js';
import { connectionOf } from '../../src/stores/redis/client.js';
import { RedisStore } from '../../src/stores/redis/redis.store.js';
import { clients, clusterClients, type OpenClient } from '../support/redis/clients.js';
import {
  redisBinaries,
  startRedis,
  startRedisCluster,
  type RedisServer,
} from '../support/redis/servers.js';
import { checkStore } from '../support/model/check-store.js';

/** A key for the clock, so that it can stand still. */
const CLOCK = "tonumber(redis.call('GET', 'clock'))";

async function steadyStore({ admin }: RedisServer, { client }: OpenClient) {
  await admin.flushall();
  await admin.set('clock', 1_700_000_000_000);
  const store = new RedisStore(connectionOf(client)!, 'steady', CLOCK);
  return {
    store,
    advance: async (ms: number) => {
      await admin.incrby('clock', ms);
    },
  };
}

describe.each(redisBinaries)('on %s', (binary) => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({}, binary);
  });
  afterAll(() => server.stop());

  describe.each(Object.entries(clients))('redisStore, %s', (name, connect) => {
    let client: OpenClient;
    beforeAll(async () => {
      client = await connect(server.port);
    });
    afterAll(() => client.close());

    describeIdempotencyStore(name, () => steadyStore(server, client));
  });

  describe('redisStore on the clock of its server', () => {
    let client: OpenClient;
    beforeAll(async () => {
      client = await clients.ioredis!(server.port);
    });
    afterAll(() => client.close());

    describeIdempotencyStore('ioredis', async () => {
      await server.admin.flushall();
      const store = redisStore({ client: client.client });
      await store.init();
      return { store };
    });

    it('behaves like the model in every history', async () => {
      const { store, advance } = await steadyStore(server, client);
      const create = async () => {
        // the clock goes on, so that fences do
        await server.admin.eval(
          "for _, k in ipairs(redis.call('KEYS', 'steady:*')) do if not k:find('fence') then redis.call('DEL', k) end end",
          0,
        );
        return { store, advance };
      };
      await checkStore(create, { numRuns: 60 });
    }, 120_000);
  });
});

describe.each(redisBinaries)('on a Cluster of %s', (binary) => {
  let nodes: RedisServer[] = [];
  beforeAll(async () => {
    nodes = await startRedisCluster(binary);
  });
  afterAll(() => Promise.all(nodes.map((node) => node.stop())));

  describe.each(Object.entries(clusterClients))('redisStore, %s', (name, connect) => {
    let client: OpenClient;
    beforeAll(async () => {
      client = await connect(nodes[0]!.port);
    });
    afterAll(() => client.close());

    describeIdempotencyStore(name, async () => {
      await Promise.all(nodes.map(({ admin }) => admin.flushall()));
      const store = redisStore({ client: client.client });
      await store.init();
      return { store };
    });

    it('spreads records over all nodes', async () => {
      const sizes = await Promise.all(nodes.map(({ admin }) => admin.dbsize()));
      expect(sizes.length).toBe(3);
    });
  });
});
