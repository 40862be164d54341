import { redisStore } from 'nestjs-idempotency/redis';
import { describeIdempotencyStore } from '../../src/testing/index.js';
import { clusterClients, type OpenClient } from '../support/redis/clients.js';
import { describeServers, startRedisCluster, type RedisServer } from '../support/redis/servers.js';
import { request, token } from '../support/typeorm-stores.js';

describeServers('redisStore() on a Cluster of %s', (binary) => {
  let nodes: RedisServer[] = [];
  beforeAll(async () => {
    nodes = await startRedisCluster(binary);
  }, 60_000);
  afterAll(() => Promise.all(nodes.map((node) => node.stop())));

  describe.each(['ioredis', 'node-redis'] as const)('with %s', (name) => {
    let client: OpenClient;
    beforeAll(async () => {
      client = await clusterClients[name](nodes[0]!.port);
    });
    afterAll(() => client.close());

    describeIdempotencyStore(name, async () => {
      await Promise.all(nodes.map(({ admin }) => admin.flushall()));
      const store = redisStore({ client: client.client });
      await store.init();
      return { store };
    });

    it('spreads records over all nodes', async () => {
      await Promise.all(nodes.map(({ admin }) => admin.flushall()));
      const store = redisStore({ client: client.client });
      const claims = Array.from({ length: 256 }, (_, n) => request({ id: idIn(n) }));
      await store.claimMany(claims);
      for (const { admin } of nodes) expect(await admin.dbsize()).toBeGreaterThan(100);
      const listed = await store.list({ limit: 1_000 });
      expect(Array.from(listed, ({ id }) => id).sort()).toEqual(claims.map(({ id }) => id).sort());
    });
  });
});

/** An id of one day, in shard `n`. */
function idIn(n: number): string {
  return `512d${token().slice(6)}${n.toString(16).padStart(2, '0')}`;
}
