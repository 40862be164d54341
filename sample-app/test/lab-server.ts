import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestDatabase } from './databases.js';

/** As global setup has compiled it. */
const MAIN = join(process.env.TEST_PROGRAMS as string, 'sample-app/src/main.js');

export interface LabServer {
  readonly url: string;
  close(): Promise<void>;
}

/** The application as `npm start` runs it, on the sources and on a database of its own. */
export async function startLabServer({
  config,
  fulfilment,
  drop,
}: TestDatabase): Promise<LabServer> {
  const { DATABASE_URL: _, BROKER_URL: __, NODE_OPTIONS: ___, ...env } = process.env;
  const child = spawn(process.execPath, [MAIN], {
    env: {
      ...env,
      PORT: '0',
      ...(config.url !== undefined && { DATABASE_URL: config.url }),
      ...(config.file !== undefined && { DATABASE_FILE: config.file }),
      ...(fulfilment.file !== undefined && { FULFILMENT_DATABASE_FILE: fulfilment.file }),
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
      await drop();
    },
  };
}
