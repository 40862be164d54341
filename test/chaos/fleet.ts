import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { AppCommand, AppOptions } from './app/options.js';

/** How long an application may take to end after SIGTERM, in milliseconds. */
const SHUTDOWN_MS = 5_000;
const STARTS = 10;
const SPARES = 2;

/** One of the applications: the place stays, the process in it changes. */
export interface Place {
  readonly number: number;
  readonly options: AppOptions;
  process: ChildProcess;
  /** Nobody listens there while the process is being replaced. */
  port: number;
  /** Somebody is at it already: no second fault of this kind. */
  isBusy: boolean;
}

const children = new Set<ChildProcess>();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/** Starts a program of the build; it ends with us. */
export function startProgram(build: string, name: string, said: string[]): ChildProcess {
  const child = fork(join(build, 'test/chaos/app', `${name}.js`), [], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  child.stdout?.on('data', (chunk) => said.push(String(chunk)));
  child.stderr?.on('data', (chunk) => said.push(String(chunk)));
  return child;
}

/** The port that a program tells when it listens. */
export function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    void saidBy(child, 'port').then((port) => resolve(port as number));
    child.once('exit', (code, signal) =>
      reject(new Error(`The program ended with ${code ?? signal} before it listened.`)),
    );
  });
}

/** What a program says under that name, the next time that it does. */
function saidBy(child: ChildProcess, name: string): Promise<unknown> {
  return new Promise((resolve) => {
    const listen = (message: unknown): void => {
      if (typeof message === 'object' && message !== null && name in message) {
        child.off('message', listen);
        resolve((message as Record<string, unknown>)[name]);
      }
    };
    child.on('message', listen);
  });
}

/** The applications under attack, and some more that are warm and wait to take somebody's place. */
export class Fleet {
  readonly places: Place[] = [];
  /** Applications that ended although nobody had killed them. */
  readonly deaths: string[] = [];
  /** What the applications wrote, newest last. */
  readonly said: string[] = [];
  private readonly spares: ChildProcess[] = [];
  private readonly doomed = new WeakSet<ChildProcess>();
  private isClosed = false;

  private constructor(private readonly build: string) {}

  static async start(build: string, apps: readonly AppOptions[]): Promise<Fleet> {
    const fleet = new Fleet(build);
    await Promise.all(apps.map((options, number) => fleet.addPlace(number, options)));
    fleet.spares.push(...Array.from({ length: SPARES }, () => fleet.warmUp()));
    return fleet;
  }

  /** Kills the process of a place and puts another there. */
  async replace(place: Place, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const old = place.process;
    this.doomed.add(old);
    old.kill(signal);
    if (signal === 'SIGTERM') {
      const late = setTimeout(() => old.kill('SIGKILL'), SHUTDOWN_MS);
      await exitOf(old);
      clearTimeout(late);
    }
    if (!this.isClosed) {
      await this.occupy(place);
    }
  }

  /** Which applications cannot get hold of all connections of their pool, although nobody uses them. */
  async leaks(poolSize: number): Promise<string[]> {
    const counts = await Promise.all(
      this.places.map(async ({ number, process: child }) => {
        const answered = Promise.race([saidBy(child, 'borrowed'), exitOf(child)]);
        child.send({ borrow: poolSize } satisfies AppCommand);
        return { number, borrowed: Number(await answered) };
      }),
    );
    return counts
      .filter(({ borrowed }) => borrowed !== poolSize)
      .map(({ number, borrowed }) => `application ${number}: ${borrowed} of ${poolSize}`);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    const all = [...this.places.map((place) => place.process), ...this.spares];
    await Promise.all(all.map((it) => this.end(it)));
  }

  private async addPlace(number: number, options: AppOptions): Promise<void> {
    const place: Place = { number, options, process: this.warmUp(), port: 0, isBusy: false };
    this.places.push(place);
    await this.listen(place);
  }

  private async occupy(place: Place): Promise<void> {
    this.spares.push(this.warmUp());
    place.process = this.spares.shift() as ChildProcess;
    await this.listen(place);
  }

  /** An application that finds no database while it starts gives up; then the next one starts. */
  private async listen(place: Place): Promise<void> {
    for (let tries = 1; !this.isClosed; tries += 1) {
      const child = place.process;
      // a warm process reads it at once, one that still loads as soon as it has
      child.send({ start: place.options } satisfies AppCommand);
      try {
        place.port = await portOf(child);
        child.once('exit', (code, signal) => this.noteDeath(place, child, String(code ?? signal)));
        return;
      } catch {
        if (tries === STARTS) {
          this.deaths.push(`application ${place.number} does not start: ${this.lastWords()}`);
          return;
        }
        place.process = this.warmUp();
      }
    }
  }

  private noteDeath(place: Place, child: ChildProcess, how: number | string): void {
    if (!this.doomed.has(child)) {
      this.deaths.push(`application ${place.number} ended with ${how}: ${this.lastWords()}`);
    }
  }

  private lastWords(): string {
    return this.said.slice(-3).join('').trim();
  }

  private warmUp(): ChildProcess {
    return startProgram(this.build, 'main', this.said);
  }

  private async end(child: ChildProcess): Promise<void> {
    this.doomed.add(child);
    child.kill('SIGKILL');
    await exitOf(child);
  }
}

/** Resolves when the process has ended, also when it has already. */
export async function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    await once(child, 'exit');
  }
}
