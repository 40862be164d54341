import type { IdempotencyHooks } from '../engine/events.js';

const OUTCOMES = ['executed', 'replayed', 'rejected', 'takenOver'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface ActivitySeries extends Readonly<Record<Outcome, readonly number[]>> {
  /** When the first bucket begins, in epoch milliseconds. */
  readonly start: number;
  /** Milliseconds of a bucket. The last one has only begun. */
  readonly step: number;
}

const MINUTE_MS = 60_000;
const KEPT_MINUTES = 24 * 60;
/** How many minutes are one bucket, by how many are asked for. */
const BUCKETS = { 60: 1, 360: 5, 1440: 20 } as const;
type Range = keyof typeof BUCKETS;

/** What has happened to keys in this process, minute by minute, for a day. */
export class Activity {
  private readonly counts = OUTCOMES.map(() => new Uint32Array(KEPT_MINUTES));
  /** Which minute a place in `counts` is about. */
  private readonly minutes = new Uint32Array(KEPT_MINUTES);

  constructor(private readonly clock: () => number = Date.now) {}

  readonly hooks: IdempotencyHooks = {
    onExecuted: () => this.count('executed'),
    onReplayed: () => this.count('replayed'),
    onRejected: () => this.count('rejected'),
    onTakenOver: () => this.count('takenOver'),
  };

  /** @param wanted 60, 360 or 1440 minutes; anything else counts as 60 */
  series(wanted: number): ActivitySeries {
    const range: Range = wanted in BUCKETS ? (wanted as Range) : 60;
    const step = BUCKETS[range];
    const last = Math.floor(this.minute() / step) * step;
    const first = last - range + step;
    const buckets = Array.from({ length: range / step }, (_, n) => first + n * step);
    const sums = OUTCOMES.map((outcome) => [
      outcome,
      buckets.map((minute) => this.sum(outcome, minute, step)),
    ]);
    return {
      start: first * MINUTE_MS,
      step: step * MINUTE_MS,
      ...(Object.fromEntries(sums) as Record<Outcome, number[]>),
    };
  }

  private count(outcome: Outcome): void {
    const minute = this.minute();
    const place = minute % KEPT_MINUTES;
    if (this.minutes[place] !== minute) {
      this.minutes[place] = minute;
      this.counts.forEach((counts) => (counts[place] = 0));
    }
    this.countsOf(outcome)[place]! += 1;
  }

  private sum(outcome: Outcome, from: number, length: number): number {
    let sum = 0;
    for (let minute = from; minute < from + length; minute += 1) {
      const place = minute % KEPT_MINUTES;
      sum += this.minutes[place] === minute ? (this.countsOf(outcome)[place] ?? 0) : 0;
    }
    return sum;
  }

  private countsOf(outcome: Outcome): Uint32Array {
    return this.counts[OUTCOMES.indexOf(outcome)] as Uint32Array;
  }

  private minute(): number {
    return Math.floor(this.clock() / MINUTE_MS);
  }
}
