import { StoreTimeoutError, within } from './engine/timing.js';

/** What waits for somebody. */
export interface Waiting {
  readonly uncertain: number;
  readonly parked: number;
  readonly expired: number;
}

/** Probes and scrapes come every few seconds to every instance, and a count may read the whole table. */
const FRESH_FOR_MS = 60_000;

interface Count {
  readonly limit: number;
  readonly startedAt: number;
  readonly counted: Promise<Waiting>;
}

/** Counts at most once a minute, and never twice at a time. */
export class Counts {
  private last: Waiting | undefined;
  private current: Count | undefined;

  constructor(private readonly ask: (state: keyof Waiting, limit: number) => Promise<number>) {}

  /**
   * The counts, those of before when new ones take longer than `ms`, or `undefined` when there are none yet: a table
   * that is long to read is no illness.
   *
   * @throws what `ask` throws
   */
  async within(ms: number, limit: number): Promise<Waiting | undefined> {
    if (!this.isFresh(limit)) {
      this.current = { limit, startedAt: performance.now(), counted: this.count(limit) };
    }
    const { counted } = this.current as Count;
    try {
      return await within(ms, counted);
    } catch (error) {
      if (error instanceof StoreTimeoutError) {
        return this.last;
      }
      throw error;
    }
  }

  private isFresh(limit: number): boolean {
    const { current } = this;
    return (
      current !== undefined &&
      current.limit >= limit &&
      performance.now() - current.startedAt < FRESH_FOR_MS
    );
  }

  private async count(limit: number): Promise<Waiting> {
    try {
      this.last = {
        uncertain: await this.ask('uncertain', limit),
        parked: await this.ask('parked', limit),
        expired: await this.ask('expired', limit),
      };
      return this.last;
    } catch (error) {
      // asked again the next time
      this.current = undefined;
      throw error;
    }
  }
}
