import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Table, type DataSource } from 'typeorm';
import { startProgram } from './program.js';
import type { ShopOptions } from './shop-process.js';

const SERVERS = {
  shop: 'shop-server',
  limited: 'limited-server',
  steps: 'steps-server',
  redis: 'redis/shop-server',
};

export interface Shop {
  readonly port: number;
  readonly process: ChildProcess;
  /** Resolves when a handler has had its effect. */
  nextEffect(): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<void>;
}

/** Starts an application in a process of its own. */
export async function startShop(
  options: ShopOptions,
  server: keyof typeof SERVERS = 'shop',
  env: Record<string, string> = {},
): Promise<Shop> {
  const child = startProgram(SERVERS[server], options, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit').then(() => undefined);
  const port = await new Promise<number>((resolve, reject) => {
    child.on('message', (message: { port?: number } | string) => {
      if (typeof message === 'object' && message.port !== undefined) {
        resolve(message.port);
      }
    });
    void exited.then(() => reject(new Error('The application ended before it listened.')));
  });
  return {
    port,
    process: child,
    exited,
    nextEffect: () =>
      new Promise((resolve) => {
        const listen = (message: unknown): void => {
          if (message === 'effect') {
            child.off('message', listen);
            resolve();
          }
        };
        child.on('message', listen);
      }),
    kill: (signal) => void child.kill(signal),
  };
}

/** A test whose applications end with it. It can run beside others, as most of the time it waits. */
export function withShops(body: (shops: Shop[]) => Promise<void>): () => Promise<void> {
  return async () => {
    const shops: Shop[] = [];
    await body(shops).finally(() => killAll(shops));
  };
}

/** Kills applications, and empties the list of them. */
export async function killAll(shops: Shop[]): Promise<void> {
  const running = shops.splice(0);
  running.forEach((shop) => shop.kill('SIGKILL'));
  await Promise.all(running.map((shop) => shop.exited));
}

export async function createEffects(dataSource: DataSource): Promise<void> {
  const runner = dataSource.createQueryRunner();
  await runner.createTable(
    new Table({
      name: 'effect',
      columns: [
        { name: 'id', type: 'varchar', length: '36', isPrimary: true },
        { name: 'name', type: 'varchar', length: '100' },
        { name: 'fence', type: 'varchar', length: '20' },
      ],
    }),
  );
  await runner.release();
}

/** The ids of the effects that a name has had. */
export async function effectsOf(dataSource: DataSource, name: string): Promise<string[]> {
  const rows = await dataSource
    .createQueryBuilder()
    .select('e.id', 'id')
    .from('effect', 'e')
    .where('e.name = :name', { name })
    .getRawMany<{ id: string }>();
  return rows.map(({ id }) => id);
}
