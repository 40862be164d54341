import { within } from '../engine/timing.js';

/** A transaction that was begun by hand, and is waited for from inside of itself, would be waited for for ever. */
const LONGEST_WAIT_MS = 5_000;

/**
 * One after the other, in the order of asking: a connection does one thing at a time, and savepoints only
 * nest. Whoever has the turn decides when it is over.
 */
export class Turns {
  private last: Promise<void> = Promise.resolve();
  private asked = 0;
  private byHand = 0;

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
    this.byHand += 1;
    const leave = await this.enter();
    return () => {
      this.byHand -= 1;
      leave();
    };
  }

  /** Resolves when nobody has the turn or waits for it any more. */
  async idle(): Promise<void> {
    while (this.isBusy) {
      await this.bounded(this.last);
    }
  }

  /** Takes a turn that ends when the returned function is called. */
  async enter(): Promise<() => void> {
    const before = this.last;
    const waitsForHand = this.byHand > 0;
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
      await (waitsForHand ? this.bounded(before) : before);
    } catch (error) {
      left();
      throw error;
    }
    return left;
  }

  private async bounded(turn: Promise<void>): Promise<void> {
    if (this.byHand === 0) {
      return turn;
    }
    try {
      await within(LONGEST_WAIT_MS, turn);
    } catch {
      throw new Error(
        'A query waited for a transaction (or a stream) that was begun on a query runner and is still ' +
          'open. Run it on the manager of that query runner, or end the transaction first.',
      );
    }
  }
}
