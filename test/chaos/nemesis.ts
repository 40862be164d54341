import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet, Place } from './fleet.js';
import type { History } from './history.js';
import type { ChaosProxy } from './proxy.js';
import type { Random } from './random.js';

/** What stands between the applications and their database; SQLite has nothing of it. */
export interface Surroundings {
  readonly proxy: ChaosProxy;
  /** A text that only the library's statements hold. */
  readonly records: string;
  terminateAll(): Promise<unknown>;
  crash(): Promise<void>;
}

const SHORTEST_BREAK_MS = 200;
const LONGEST_BREAK_MS = 500;
/** After a crash the database is left alone for so long. */
const CRASH_BREAK_MS = 7_000;
const processFaults = ['kill', 'terminate', 'pause'] as const;
const databaseFaults = [
  'cut',
  'lose-answer',
  'freeze',
  'slow-down',
  'end-sessions',
  'crash-database',
] as const;
export type Fault =
  | (typeof processFaults)[number]
  | (typeof databaseFaults)[number]
  /** A COMMIT reaches the database, and its answer does not reach the application. */
  | 'lose-commit';

/** Faults, one every few hundred milliseconds, chosen by the seed. */
export class Nemesis {
  /** The faults of this run: each run has some of them only, so that rare combinations come up. */
  readonly faults: readonly Fault[];
  private readonly bag: Fault[] = [];
  private readonly over = new AbortController();
  private readonly running = new Set<Promise<void>>();
  private readonly done: Promise<void>;
  private lastCrash = performance.now() - CRASH_BREAK_MS / 2;

  constructor(
    private readonly fleet: Fleet,
    private readonly surroundings: Surroundings | undefined,
    private readonly history: History,
    private readonly random: Random,
    { faults, always = [] }: { faults?: readonly Fault[]; always?: readonly Fault[] },
  ) {
    const others: readonly Fault[] =
      surroundings === undefined ? ['terminate'] : ['terminate', ...databaseFaults];
    const chosen = others.filter(() => random.chance(0.75));
    this.faults = faults ?? ['kill', 'pause', ...always, ...chosen];
    this.done = this.loop();
  }

  /** Ends every fault that is going on; resolves when everybody is up again. */
  async stop(): Promise<void> {
    this.over.abort();
    await this.done;
    await Promise.all(this.running);
    this.surroundings?.proxy.heal();
  }

  private async loop(): Promise<void> {
    for (;;) {
      await this.wait(this.random.between(SHORTEST_BREAK_MS, LONGEST_BREAK_MS));
      if (this.over.signal.aborted) {
        return;
      }
      const fault = this.next();
      const going = this.begin(fault);
      if (going !== undefined) {
        this.history.faults.push({ at: performance.now(), fault });
        this.running.add(going);
        void going.finally(() => this.running.delete(going));
      } else if (this.bag.length > 0) {
        // its turn comes when it can be done
        this.bag.push(fault);
      }
    }
  }

  /** Every fault once (`lose-commit`, which strikes one request only, twice), in any order, before one comes again: a short run has seen them all. */
  private next(): Fault {
    if (this.bag.length === 0) {
      this.bag.push(...this.faults, ...this.faults.filter((fault) => fault === 'lose-commit'));
    }
    const [fault] = this.bag.splice(this.random.between(0, this.bag.length - 1), 1);
    return fault as Fault;
  }

  /** Undefined when it cannot be done just now. */
  private begin(fault: Fault): Promise<void> | undefined {
    const { random, surroundings } = this;
    switch (fault) {
      case 'kill':
        return this.atPlace((place) => this.fleet.replace(place, 'SIGKILL'));
      case 'terminate':
        return this.atPlace((place) => this.fleet.replace(place, 'SIGTERM'));
      case 'pause':
        return this.atPlace((place) => this.pause(place, random.between(400, 1_300)));
      default:
        return surroundings && this.disturb(fault, surroundings);
    }
  }

  private atPlace(work: (place: Place) => Promise<void>): Promise<void> | undefined {
    const free = this.fleet.places.filter((place) => !place.isBusy);
    // while nobody is there, nothing can go wrong
    if (free.length < 2) {
      return undefined;
    }
    const place = this.random.pick(free);
    place.isBusy = true;
    return work(place).finally(() => {
      place.isBusy = false;
    });
  }

  private async pause({ process: child }: Place, ms: number): Promise<void> {
    child.kill('SIGSTOP');
    await this.wait(ms);
    child.kill('SIGCONT');
  }

  private disturb(
    fault: Exclude<Fault, (typeof processFaults)[number]>,
    { proxy, records, terminateAll, crash }: Surroundings,
  ): Promise<void> | undefined {
    const { random } = this;
    switch (fault) {
      case 'cut':
        proxy.cut(random.pick([0.5, 1]), random);
        return Promise.resolve();
      case 'lose-answer':
        return Promise.race([proxy.loseAnswerTo(records), this.wait(2_000)]);
      case 'lose-commit':
        return Promise.race([proxy.loseAnswerTo('COMMIT'), this.wait(2_000)]);
      case 'freeze':
        proxy.freeze();
        return this.wait(random.between(300, 1_200)).then(() => {
          proxy.cut(random.pick([0, 0.5]), random);
          proxy.thaw();
        });
      case 'slow-down':
        proxy.slowDown(random.between(20, 80));
        return this.wait(random.between(500, 1_500)).then(() => proxy.slowDown(0));
      case 'end-sessions':
        return terminateAll().then(
          () => undefined,
          () => undefined,
        );
      case 'crash-database':
        if (performance.now() - this.lastCrash < CRASH_BREAK_MS) {
          return undefined;
        }
        this.lastCrash = performance.now();
        return crash();
    }
  }

  private async wait(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.over.signal }).catch(() => undefined);
  }
}
