import { Redis } from 'ioredis';
import { redisStore } from 'nestjs-idempotency/redis';
import type { IdempotencyStore } from '../../src/engine/store.js';
import { eventually } from '../support/http.js';
import { describeRedis, startRedis, type RedisServer } from '../support/redis/servers.js';
import { request } from '../support/typeorm-stores.js';

/** What the server is set up to, and what the store says of it. */
describeRedis('redisStore() and its server', () => {
  const servers: RedisServer[] = [];
  const clients: Redis[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) client.disconnect();
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });

  async function start(options: Record<string, string>): Promise<RedisServer> {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  }

  function storeOn({ port }: RedisServer, options: object = {}): IdempotencyStore {
    const client = new Redis(port, '127.0.0.1', {
      maxRetriesPerRequest: 0,
      retryStrategy: () => 20,
      ...options,
    });
    client.on('error', () => undefined);
    clients.push(client);
    return redisStore({ client });
  }

  it.each(['allkeys-lru', 'allkeys-lfu', 'allkeys-random'])(
    'does not begin where records may be dropped: %s',
    async (policy) => {
      const store = storeOn(await start({ 'maxmemory-policy': policy, appendonly: 'yes' }));
      await expect(store.init()).rejects.toMatchObject({
        code: 'IDEMPOTENCY_MISCONFIGURED',
        message: expect.stringMatching(`${policy}.*Set maxmemory-policy noeviction`) as string,
      });
    },
  );

  it('has nothing to say of a server that keeps what it is given', async () => {
    const store = storeOn(await start({ appendonly: 'yes' }));
    await store.init();
    expect(store.warnings).toEqual([]);
  });

  it('tells that other keys than records may be dropped', async () => {
    const store = storeOn(await start({ 'maxmemory-policy': 'volatile-lru', appendonly: 'yes' }));
    await store.init();
    expect(store.warnings).toEqual([expect.stringContaining('maxmemory-policy volatile-lru')]);
  });

  it('tells that a restart loses records', async () => {
    const store = storeOn(await start({ appendonly: 'no' }));
    await store.init();
    expect(store.warnings).toEqual([expect.stringContaining('Set appendonly yes')]);
  });

  it('tells that it could not see the policy', async () => {
    const server = await start({ appendonly: 'yes' });
    await server.admin.acl('SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-info');
    const store = storeOn(server, {
      username: 'app',
      password: 'secret',
      enableReadyCheck: false,
    });
    await store.init();
    expect(store.warnings).toEqual([expect.stringContaining('INFO is not allowed')]);
  });

  it('does not begin on a replica', async () => {
    const primary = await start({ 'repl-diskless-sync-delay': '0' });
    const replica = await start({ replicaof: `127.0.0.1 ${primary.port}` });
    await eventually(
      async () => (await replica.admin.info('replication')).includes('master_link_status:up'),
      'the replica follows',
    );
    await expect(storeOn(replica).init()).rejects.toMatchObject({
      code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
      cause: { message: expect.stringContaining('READONLY') as string },
    });
  });

  it('runs nothing on a full server, loses nothing there, and still deletes what has expired', async () => {
    const server = await start({ 'maxmemory-policy': 'volatile-lru', appendonly: 'no' });
    const store = storeOn(server);
    const [old, kept] = [request(), request()];
    await store.claimMany([old, kept]);
    await store.complete({ ...old, result: Buffer.from('old'), ttlMs: 1 });
    await store.complete({ ...kept, result: Buffer.from('kept') });
    await server.admin.config('SET', 'maxmemory', '1');
    await expect(store.claim(request())).rejects.toMatchObject({
      code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
    });
    expect((await store.find(kept.id))?.result).toEqual(new Uint8Array(Buffer.from('kept')));
    await eventually(async () => (await store.find(old.id)) === null, 'one has expired');
    expect(await store.deleteExpired(10)).toBe(1);
  });

  it('fails while the server is away, and finds what was acknowledged when it is back', async () => {
    const server = await start({ appendonly: 'yes', appendfsync: 'always' });
    const store = storeOn(server);
    const [running, done] = [request(), request()];
    await store.claimMany([running, done]);
    await store.complete({ ...done, result: Buffer.from('done') });
    await server.kill('SIGKILL');
    await expect(store.claim(request())).rejects.toMatchObject({
      code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
    });
    await server.start();
    await eventually(() => store.ping().then(Boolean, () => false), 'the client is back');
    expect((await store.find(done.id))?.state).toBe('completed');
    expect(await store.complete({ ...running, result: null })).toEqual({ applied: true });
  });
});
