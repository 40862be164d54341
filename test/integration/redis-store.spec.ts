import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { redisStore } from 'nestjs-idempotency/redis';
import type { ClaimResult, IdempotencyStore } from '../../src/engine/store.js';
import { expectOneWinner } from '../support/claimers.js';
import { clients, type OpenClient } from '../support/redis/clients.js';
import { describeRedis, startRedis, type RedisServer } from '../support/redis/servers.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { request, token } from '../support/typeorm-stores.js';

describeRedis('redisStore()', () => {
  let server: RedisServer;
  let open: OpenClient;
  let store: IdempotencyStore;
  beforeAll(async () => {
    server = await startRedis();
    open = await clients.ioredis(server.port);
    store = redisStore({ client: open.client });
  });
  beforeEach(() => server.admin.flushall());
  afterAll(async () => {
    open.close();
    await server.stop();
  });

  it.each(Object.entries(clients))('keeps every byte with %s', async (_, connect) => {
    const { client, close } = await connect(server.port);
    const own = redisStore({ client });
    const all = Buffer.from(Array.from({ length: 256 }, (_byte, n) => n));
    const claim = request({ fingerprint: all.subarray(224), scope: 'é😀', key: '' });
    await claimed(own, claim);
    expect(await own.keepSteps(claim, all)).toEqual({ applied: true });
    expect(Buffer.from((await claimed(own, claim)).steps ?? [])).toEqual(all);
    await own.complete({ ...claim, result: all });
    const record = await own.find(claim.id);
    expect(record).toMatchObject({ scope: 'é😀', key: '', operation: claim.operation });
    expect([record?.result, record?.fingerprint].map((bytes) => Buffer.from(bytes ?? []))).toEqual([
      all,
      all.subarray(224),
    ]);
    close();
  });

  it('needs one script to claim, one to complete and one to replay', async () => {
    const claim = request();
    await store.claim(claim);
    await store.complete({ ...claim, result: Buffer.from('x') });
    await server.admin.config('RESETSTAT');
    const next = request();
    await store.claim(next);
    await store.complete({ ...next, result: Buffer.from('x') });
    expect(await calls(server, 'evalsha')).toBe(2);
    expect((await store.claim({ ...claim, owner: token() })).type).toBe('held');
    expect(await calls(server, 'evalsha')).toBe(3);
    expect(await calls(server, 'eval')).toBe(0);
  });

  it.each(['ioredis', 'node-redis'] as const)(
    'hands a script over again when %s finds it forgotten',
    async (name) => {
      const { client, close } = await clients[name](server.port);
      const own = redisStore({ client });
      const claim = request();
      await own.claim(claim);
      await server.admin.script('FLUSH');
      expect(await own.complete({ ...claim, result: null })).toEqual({ applied: true });
      await server.admin.script('FLUSH');
      expect((await own.claim({ ...claim, owner: token() })).type).toBe('held');
      await server.admin.config('RESETSTAT');
      await own.claim({ ...claim, owner: token() });
      expect(await calls(server, 'eval')).toBe(0);
      close();
    },
  );

  it('knows a claim whose reply was lost', async () => {
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    const client = new Redis(proxy.port, '127.0.0.1', {
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
    });
    client.on('error', () => undefined);
    const own = redisStore({ client });
    await own.ping();
    const claim = request();
    const cut = proxy.cutAt(claim.owner, 'answered');
    await expect(own.claim(claim)).rejects.toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
    await cut;
    const record = await store.find(claim.id);
    expect(record?.owner).toBe(claim.owner);
    expect(await claimed(own, claim)).toMatchObject({ attempt: 1, fence: record?.fence });
    client.disconnect();
    await proxy.close();
  });

  it('says nothing of what was sent when it fails', async () => {
    const claim = request({ key: 'secret key', scope: 'secret scope' });
    await server.admin.set(keyOf(claim.id), 'no hash');
    const error = await store.claim(claim).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
    const { cause } = error as Error;
    expect(Object.keys(cause as Error)).toEqual([]);
    expect(String((cause as Error).stack) + String(error)).not.toContain('secret');
  });

  it('gives no key a time to live, so that none is dropped before its time', async () => {
    const claim = request();
    await store.claim(claim);
    await store.complete({ ...claim, result: Buffer.from('x') });
    const keys = await server.admin.keys('*');
    expect(keys.length).toBe(4);
    for (const key of keys) expect(await server.admin.ttl(key)).toBe(-1);
  });

  it('leaves nothing of a record that cleanup deleted but the last fence', async () => {
    const claim = request({ ttlMs: 1 });
    await store.claim(claim);
    await store.complete({ ...claim, result: Buffer.from('x') });
    await afterNow(store);
    expect(await store.deleteExpired(10)).toBe(1);
    const [key, ...others] = await server.admin.keys('*');
    expect([key?.endsWith(':fence'), others]).toEqual([true, []]);
  });

  it('fences go on rising when the server has lost everything', async () => {
    const { fence } = await claimed(store, request());
    await server.admin.flushall();
    expect((await claimed(store, request())).fence).toBeGreaterThan(fence);
  });

  it('lets one claim of each key win in several processes', async () => {
    await expectOneWinner(store, 'redis/claimer', server.port);
  }, 120_000);

  it('keeps prefixes apart', async () => {
    const other = redisStore({ client: open.client, prefix: 'orders' });
    const claim = request();
    await claimed(store, claim);
    await claimed(other, { ...claim, owner: token() });
    expect((await other.list({ limit: 10 })).length).toBe(1);
    expect((await server.admin.keys('orders:*')).length).toBe(4);
  });

  it('lists and deletes more than one script looks at', async () => {
    const ids = Array.from({ length: 450 }, () => `${token().slice(2)}00`).sort();
    const claims = ids.map((id, n) => request({ id, scope: n % 2 ? 'odd' : 'even', ttlMs: 1 }));
    await store.claimMany(claims);
    const listed = await store.list({ limit: 1_000, scope: 'odd' });
    expect(Array.from(listed, ({ id }) => id)).toEqual(ids.filter((_, n) => n % 2));
    await store.completeMany(claims.map((claim) => ({ ...claim, result: null })));
    await afterNow(store);
    expect(await store.deleteExpired(430)).toBe(430);
    expect(await store.deleteExpired(430)).toBe(20);
  });

  it.each([
    [{ client: undefined }, /option 'client' is undefined.*createClient\(\)/],
    [{ client: { get: () => undefined } }, /option 'client'/],
    [{ prefix: '{a}' }, /option 'prefix' is '\{a\}'\. Write a name without braces/],
    [{ prefix: '' }, /option 'prefix'/],
    [{ ttl: 5 }, /there is no option 'ttl'.*client, prefix/],
  ])('refuses %p', (wrong, sentence) => {
    const options = { client: open.client, ...wrong } as Parameters<typeof redisStore>[0];
    expect(() => redisStore(options)).toThrow(sentence);
  });

  it('does not begin with a client that was never connected', async () => {
    const client = createClient({ url: `redis://127.0.0.1:${server.port}` });
    await expect(redisStore({ client }).init()).rejects.toMatchObject({
      code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
      message: expect.stringContaining('the client is connected') as string,
    });
  });
});

async function claimed(
  store: IdempotencyStore,
  claim: ReturnType<typeof request>,
): Promise<Extract<ClaimResult, { type: 'claimed' }>> {
  const result = await store.claim(claim);
  if (result.type !== 'claimed') throw new Error('expected to win the claim');
  return result;
}

function keyOf(id: string): string {
  return `idempotency:{${id.slice(-2)}}:${id}`;
}

async function calls({ admin }: RedisServer, command: string): Promise<number> {
  const stats = await admin.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

/** Until the store's clock is past this moment's last millisecond. */
async function afterNow(store: IdempotencyStore): Promise<void> {
  const end = (await store.ping()) + 2;
  while ((await store.ping()) < end);
}
