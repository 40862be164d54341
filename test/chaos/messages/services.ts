import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const LOADER = fileURLToPath(
  new URL('../../../sample-app/test/library-loader.mjs', import.meta.url),
);
const SERVICE = fileURLToPath(new URL('./service.ts', import.meta.url));
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

  constructor(private readonly options: ServiceOptions) {
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
      const child = fork(SERVICE, [JSON.stringify(this.options)], {
        execArgv: ['--import', LOADER],
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
