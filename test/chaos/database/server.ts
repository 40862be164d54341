import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSourceOptions } from 'typeorm';
import { temporaryFolder } from '../temporary.js';
import { freePort } from '../../support/free-port.js';

/** A database server of our own, which a run may restart as it likes. */
export interface DatabaseServer {
  readonly port: number;
  /** How to reach it, or what stands at `port` in front of it. */
  options(port: number): DataSourceOptions;
  /** Dies without saying good-bye, and comes back. */
  crash(): Promise<void>;
  /** Ends every connection but the caller's: the statement for it. */
  readonly terminateAll: string;
  close(): Promise<void>;
}

/** The database servers refuse to run as root; then they run as `nobody`. */
export const unprivileged = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

const START_MS = 20_000;

export interface Home {
  readonly folder: string;
  readonly port: number;
  remove(): Promise<void>;
}

/** A folder and a port for a server. */
export async function newHome(name: string): Promise<Home> {
  const { path: folder, remove } = await temporaryFolder(name);
  if (unprivileged.uid !== undefined) {
    await chown(folder, unprivileged.uid, unprivileged.gid);
  }
  return { folder, port: await freePort(), remove };
}

/** Runs a program to its end. */
export async function run(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { ...unprivileged, cwd: tmpdir() });
  const said = outputOf(child);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) {
    throw new Error(`${program} ended with ${code}: ${said()}`);
  }
}

/** A server program that can be killed and started again. */
export class ServerProcess {
  private child: ChildProcess | undefined;
  private readonly killOnExit = () => void this.child?.kill('SIGKILL');

  constructor(
    private readonly program: string,
    private readonly args: readonly string[],
    private readonly answers: () => Promise<unknown>,
  ) {
    process.on('exit', this.killOnExit);
  }

  async start(): Promise<void> {
    const child = spawn(this.program, this.args, { ...unprivileged, cwd: tmpdir() });
    this.child = child;
    const said = outputOf(child);
    const deadline = performance.now() + START_MS;
    for (;;) {
      try {
        await this.answers();
        return;
      } catch (error) {
        if (child.exitCode !== null || performance.now() > deadline) {
          throw new Error(`${this.program} did not start: ${said()}`, { cause: error });
        }
        await sleep(20);
      }
    }
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    const child = this.child as ChildProcess;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
  }

  async close(signal: NodeJS.Signals): Promise<void> {
    await this.stop(signal);
    process.off('exit', this.killOnExit);
  }
}

/** The last of what a program says. */
function outputOf(child: ChildProcess): () => string {
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      said = (said + String(chunk)).slice(-2_000);
    });
  }
  return () => said.trim();
}
