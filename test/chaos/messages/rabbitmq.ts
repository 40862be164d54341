import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../support/free-port.js';
import { temporaryFolder } from '../temporary.js';

const PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server';
const START_MS = 30_000;

/** A broker of our own, which a run may kill as it likes. */
export class RabbitMq {
  private child: ChildProcess | undefined;
  private readonly killOnExit = () => this.signal();

  private constructor(
    readonly port: number,
    private readonly env: NodeJS.ProcessEnv,
    private readonly remove: () => Promise<void>,
  ) {
    process.on('exit', this.killOnExit);
  }

  static async start(): Promise<RabbitMq> {
    if (!existsSync(PROGRAM)) {
      throw new Error('RabbitMQ is missing: apt-get install rabbitmq-server');
    }
    const { path: folder, remove } = await temporaryFolder('rabbitmq');
    const [port, distribution] = [await freePort(), await freePort()];
    const config = join(folder, 'rabbitmq.conf');
    await writeFile(config, `listeners.tcp.local = 127.0.0.1:${port}\n`);
    const env = {
      ...process.env,
      HOME: folder,
      RABBITMQ_NODENAME: `chaos-${port}@localhost`,
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_CONFIG_FILE: config,
      RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'none'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
      RABBITMQ_MNESIA_BASE: join(folder, 'data'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_LOGS: '-',
      RABBITMQ_PID_FILE: join(folder, 'pid'),
      RABBITMQ_DIST_PORT: String(distribution),
    };
    const broker = new RabbitMq(port, env, remove);
    await broker.up();
    return broker;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}`;
  }

  /** Dies without saying good-bye, and comes back with what it had written down. */
  async crash(): Promise<void> {
    await this.down();
    await this.up();
  }

  async close(): Promise<void> {
    await this.down();
    process.off('exit', this.killOnExit);
    await this.remove();
  }

  private async up(): Promise<void> {
    // the script starts the program in a process of its own: they are a group, and end as one
    const child = spawn(PROGRAM, [], { env: this.env, detached: true, stdio: 'ignore' });
    this.child = child;
    const deadline = performance.now() + START_MS;
    while (!(await answers(this.port))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error('RabbitMQ does not start.');
      }
      await sleep(50);
    }
  }

  private async down(): Promise<void> {
    const child = this.child as ChildProcess;
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      this.signal();
      await exited;
    }
    while (await answers(this.port)) {
      await sleep(20);
    }
  }

  private signal(): void {
    const pid = this.child?.pid;
    if (pid !== undefined && this.child?.exitCode === null) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // it has ended already
      }
    }
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
