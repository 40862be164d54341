import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../free-port.js';
import { eventually } from '../http.js';

/** What is on this machine: a test starts servers of its own from it, and nobody else is on them. */
const binaries = ['redis-server', 'valkey-server'].filter(
  (binary) => spawnSync(binary, ['--version']).error === undefined,
);

/** For each kind of server that is there. */
export const describeServers =
  binaries.length > 0 ? describe.each(binaries) : describe.skip.each(['redis-server']);
/** Where there is any; global setup tells when there is none. */
export const describeRedis = binaries.length > 0 ? describe : describe.skip;

export interface RedisServer {
  readonly port: number;
  /** A client for the test itself. */
  readonly admin: Redis;
  /** Starts it again on the same port and the same files, after `kill`. */
  start(): Promise<void>;
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedis(
  options: Readonly<Record<string, string>> = {},
  binary = binaries[0] ?? 'redis-server',
): Promise<RedisServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'idempotency-redis-'));
  const all = { port: String(port), bind: '127.0.0.1', dir: folder, save: '', ...options };
  const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]);
  const admin = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => 20 });
  // what goes wrong is told by the command that fails
  admin.on('error', () => undefined);
  let server = spawn(binary, args, { stdio: 'ignore' });
  const start = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) {
      server = spawn(binary, args, { stdio: 'ignore' });
    }
    const own = server;
    await eventually(async () => {
      if (own.exitCode !== null) throw new Error(`${binary} ended with code ${own.exitCode}`);
      return (await admin.ping()) === 'PONG';
    }, `${binary} answers`);
  };
  await start();
  return {
    port,
    admin,
    start,
    async kill(signal) {
      const ended = once(server, 'exit');
      server.kill(signal);
      if (signal === 'SIGKILL') await ended;
    },
    async stop() {
      admin.disconnect();
      if (server.exitCode === null && server.signalCode === null) {
        const ended = once(server, 'exit');
        server.kill('SIGKILL');
        await ended;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const SLOTS = 16_384;

/** Three nodes that share the slots. */
export async function startRedisCluster(binary?: string): Promise<RedisServer[]> {
  const nodes: RedisServer[] = [];
  try {
    for (let n = 0; n < 3; n += 1) {
      const own = { 'cluster-enabled': 'yes', 'cluster-port': String(await freePort()) };
      nodes.push(await startRedis({ ...own, 'cluster-node-timeout': '5000' }, binary));
    }
    await Promise.all(nodes.map(({ admin }, n) => share(admin, n, nodes.length)));
    const [first, ...others] = nodes;
    for (const { port, admin } of others) {
      const bus = (await admin.config('GET', 'cluster-port')) as string[];
      await first!.admin.call('CLUSTER', 'MEET', '127.0.0.1', port, bus[1]!);
    }
    for (const { admin } of nodes) {
      await eventually(async () => {
        const info = await admin.cluster('INFO');
        return info.includes('cluster_state:ok') && info.includes('cluster_size:3');
      }, 'the cluster is complete');
    }
    return nodes;
  } catch (error) {
    await Promise.all(nodes.map((node) => node.stop()));
    throw error;
  }
}

async function share(admin: Redis, n: number, of: number): Promise<void> {
  const from = Math.floor((SLOTS * n) / of);
  const to = Math.floor((SLOTS * (n + 1)) / of) - 1;
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', from, to);
}
