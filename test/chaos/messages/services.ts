import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const START_MS = 30_000;

export interface ServiceOptions {
  readonly kind: 'orders' | 'fulfilment';
  readonly databaseUrl: string;
  readonly brokerUrl: string;
  readonly queue: string;
  /** How likely its process dies right after a commit. */
  readonly dies: number;
}

/** The place of a service: when its process dies, another one takes it. */
export class Service {
  /** Where it listens; 0 while nobody does. */
  port = 0;
  /** How often a process died here. */
  deaths = 0;
  private child: ChildProcess | undefined;
  private isClosed = false;
  private readonly life: Promise<void>;

  /** @param build where the services are compiled */
  constructor(
    private readonly build: string,
    private readonly options: ServiceOptions,
  ) {
    this.life = this.live();
  }

  kill(): void {
    this.child?.kill('SIGKILL');
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.kill();
    await this.life;
  }

  private async live(): Promise<void> {
    while (!this.isClosed) {
      const program = join(this.build, 'test/chaos/messages/service.js');
      const child = fork(program, [JSON.stringify(this.options)], {
        execArgv: [],
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      });
      this.child = child;
      const exited = once(child, 'exit');
      const late = setTimeout(() => child.kill('SIGKILL'), START_MS);
      child.once('message', (port) => {
        clearTimeout(late);
        this.port = port as number;
      });
      await exited;
      clearTimeout(late);
      this.port = 0;
      this.deaths += 1;
    }
  }
}
