import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Failpoint } from '../../src/engine/failpoints.js';
import type { DatabaseConfig } from '../src/database/database.options.js';
import type { Broker } from '../src/messaging/broker.js';
import { Client } from './client.js';

/** As global setup has compiled it. */
const SERVER = join(process.env.TEST_PROGRAMS as string, 'sample-app/test/shop-server.js');

export interface DoomedOptions {
  readonly database: DatabaseConfig;
  readonly broker: Broker;
  /** Where the process kills itself with SIGKILL. */
  readonly dieAt: Failpoint;
}

export interface DoomedShop {
  readonly alice: Client;
  /** By which signal it ended. */
  readonly died: Promise<NodeJS.Signals | null>;
}

/** Starts the application in a process of its own. */
export async function startDoomedShop(options: DoomedOptions): Promise<DoomedShop> {
  const child = fork(SERVER, [JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const died = once(child, 'exit').then(([, signal]) => signal as NodeJS.Signals | null);
  const port = await Promise.race([
    once(child, 'message').then(([message]) => message as number),
    died,
  ]);
  if (typeof port !== 'number') {
    throw new Error('The application ended before it listened.');
  }
  return { alice: new Client(`http://127.0.0.1:${port}`, 'alice'), died };
}
