import { within } from '../engine/timing.js';

/** A transaction that was begun by hand, and is waited for from inside of itself, would be waited for for ever. */
const LONGEST_HOLD_MS = 5_000;
const LOOK_AGAIN_MS = 500;

/**
 * One after the other, in the order of asking: a connection does one thing at a time, and savepoints only
 * nest. Whoever has the turn decides when it is over.
 */
export class Turns {
  private last: Promise<void> = Promise.resolve();
  private asked = 0;
  private readonly waiting = new Set<(reason: unknown) => void>();
  /** Since when somebody has the turn whose end we do not see; `performance.now()`. */
  private heldSince: number | undefined;

  /** Whether somebody has the turn, or waits for it. */
  get isBusy(): boolean {
    return this.asked > 0;
  }

  /** Runs `work` when its turn has come. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    const leave = await this.enter();
    try {
      return await work();
    } finally {
      leave();
    }
  }

  /** As `enter()`, for code that we do not see the end of: whoever waits behind it gives up one day. */
  async hold(): Promise<() => void> {
    const leave = await this.enter();
    this.heldSince = performance.now();
    return () => {
      this.heldSince = undefined;
      leave();
    };
  }

  /** Resolves when nobody has the turn or waits for it any more. */
  async idle(): Promise<void> {
    while (this.isBusy) {
      await this.patiently(this.last);
    }
  }

  /** Lets nobody wait any longer. Who has the turn keeps it until its end. */
  refuse(reason: unknown): void {
    for (const reject of this.waiting) {
      reject(reason);
    }
  }

  /** Takes a turn that ends when the returned function is called. */
  async enter(): Promise<() => void> {
    const before = this.last;
    const isFree = !this.isBusy;
    let leave!: () => void;
    const turn = new Promise<void>((resolve) => {
      leave = resolve;
    });
    this.asked += 1;
    this.last = before.then(() => turn);
    const left = (): void => {
      this.asked -= 1;
      leave();
    };
    try {
      await (isFree ? before : this.admitted(before));
    } catch (error) {
      left();
      throw error;
    }
    return left;
  }

  private admitted(before: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.add(reject);
      void this.patiently(before)
        .then(resolve, reject)
        .finally(() => this.waiting.delete(reject));
    });
  }

  private async patiently(turn: Promise<void>): Promise<void> {
    for (let isOver = false; !isOver;) {
      if (performance.now() - (this.heldSince ?? Infinity) > LONGEST_HOLD_MS) {
        throw new Error(
          'A query waited for a transaction (or a stream) that was begun on a query runner and is still ' +
            'open. Run it on the manager of that query runner, or end the transaction first.',
        );
      }
      isOver = await within(LOOK_AGAIN_MS, turn).then(
        () => true,
        () => false,
      );
    }
  }
}
