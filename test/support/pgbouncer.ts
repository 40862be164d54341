import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './http.js';
import { freePort } from './free-port.js';

export interface PgBouncer {
  /** The same database through the bouncer. */
  via(url: string): string;
  stop(): Promise<void>;
}

/** What the run has found; the reporter tells of what it has not. */
export function hasPgBouncer(): boolean {
  return process.env.TEST_PGBOUNCER !== '' && process.env.TEST_POSTGRES_URL !== '';
}

/** A bouncer in transaction pooling, with two connections to the server for everybody. */
export async function startPgBouncer(serverUrl: string): Promise<PgBouncer> {
  const server = new URL(serverUrl);
  const folder = await mkdtemp(join(tmpdir(), 'idempotency-pgbouncer-'));
  await chmod(folder, 0o755);
  const port = await freePort();
  const password = server.password === '' ? '' : ` password=${decodeURIComponent(server.password)}`;
  const file = join(folder, 'pgbouncer.ini');
  await writeFile(
    file,
    `[databases]
* = host=${server.hostname} port=${server.port || 5432} user=${server.username}${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
ignore_startup_parameters = options
default_pool_size = 2
`,
  );
  // it refuses to run as root
  const user = process.getuid?.() === 0 ? ['--user', 'nobody'] : [];
  const bouncer = spawn('pgbouncer', [...user, file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  bouncer.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const ended = once(bouncer, 'exit').then(() => rm(folder, { recursive: true }));
  await eventually(() => {
    if (bouncer.exitCode !== null) throw new Error(`PgBouncer ended: ${log}`);
    return answers(port);
  }, 'PgBouncer listens');
  return {
    via(url) {
      const changed = new URL(url);
      changed.hostname = '127.0.0.1';
      changed.port = String(port);
      return changed.href;
    },
    async stop() {
      bouncer.kill('SIGKILL');
      await ended;
    },
  };
}

function answers(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' });
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  }).finally(() => socket.destroy());
}
