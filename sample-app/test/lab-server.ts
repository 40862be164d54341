import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const LOADER = fileURLToPath(new URL('./library-loader.mjs', import.meta.url));
const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));

export interface LabServer {
  readonly url: string;
  close(): Promise<void>;
}

/** The application as `npm start` runs it, on the sources and on SQLite files of its own. */
export async function startLabServer(): Promise<LabServer> {
  const home = await mkdtemp(join(tmpdir(), 'lab-'));
  const { DATABASE_URL: _, BROKER_URL: __, NODE_OPTIONS: ___, ...env } = process.env;
  const child = spawn(process.execPath, ['--import', LOADER, MAIN], {
    env: {
      ...env,
      PORT: '0',
      DATABASE_FILE: join(home, 'orders.sqlite'),
      FULFILMENT_DATABASE_FILE: join(home, 'fulfilment.sqlite'),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  let url: string | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    url = /ready on (http:\S+)/.exec(line)?.[1];
    if (url !== undefined) break;
  }
  if (url === undefined) {
    throw new Error('The application ended before it listened.');
  }
  child.stdout.resume();
  return {
    url,
    async close() {
      child.kill();
      await ended;
      await rm(home, { recursive: true, force: true });
    },
  };
}
