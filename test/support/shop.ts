import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Table, type DataSource } from 'typeorm';
import type { ShopOptions } from './shop-process.js';

const LOADER = new URL('./typeorm-loader.mjs', import.meta.url).href;
const SERVERS = {
  shop: fileURLToPath(new URL('./shop-server.ts', import.meta.url)),
  limited: fileURLToPath(new URL('./limited-server.ts', import.meta.url)),
  steps: fileURLToPath(new URL('./steps-server.ts', import.meta.url)),
  redis: fileURLToPath(new URL('./redis/shop-server.ts', import.meta.url)),
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
  const child = fork(SERVERS[server], [JSON.stringify(options)], {
    // what `crashAt()` adds to the options is loaded after it
    env: {
      ...process.env,
      ...env,
      NODE_OPTIONS: `--import=${LOADER} ${env.NODE_OPTIONS ?? process.env.NODE_OPTIONS ?? ''}`,
    },
    execArgv: [],
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
