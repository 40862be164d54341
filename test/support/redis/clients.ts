import { Cluster, Redis } from 'ioredis';
import { Redis as Valkey } from 'iovalkey';
import { createClient, createClientPool, createCluster } from 'redis';
import type { RedisClient } from 'nestjs-idempotency/redis';

export interface OpenClient {
  readonly client: RedisClient;
  close(): void;
}

type Connect = (port: number) => Promise<OpenClient>;

/** Every kind of client for one server, by name. */
export const clients = {
  ioredis: async (port) => {
    const client = new Redis(port, '127.0.0.1');
    client.on('error', () => undefined);
    return { client, close: () => client.disconnect() };
  },
  iovalkey: async (port) => {
    const client = new Valkey(port, '127.0.0.1');
    client.on('error', () => undefined);
    return { client, close: () => client.disconnect() };
  },
  'node-redis': async (port) => {
    const client = createClient({ url: url(port) });
    client.on('error', () => undefined);
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  'node-redis, RESP 3': async (port) => {
    const client = createClient({ url: url(port), RESP: 3 });
    await client.on('error', () => undefined).connect();
    return { client, close: () => client.destroy() };
  },
  'node-redis, a pool': async (port) => {
    const client = createClientPool({ url: url(port) }, { minimum: 3 });
    client.on('error', () => undefined);
    await client.connect();
    return { client, close: () => client.destroy() };
  },
} satisfies Record<string, Connect>;

/** Every kind of client for a Cluster, by name; it is given one of the nodes. */
export const clusterClients = {
  ioredis: async (port) => {
    const client = new Cluster([{ host: '127.0.0.1', port }]);
    client.on('error', () => undefined);
    return { client, close: () => client.disconnect() };
  },
  'node-redis': async (port) => {
    const client = createCluster({ rootNodes: [{ url: url(port) }] });
    client.on('error', () => undefined);
    await client.connect();
    return { client, close: () => client.destroy() };
  },
} satisfies Record<string, Connect>;

function url(port: number): string {
  return `redis://127.0.0.1:${port}`;
}
