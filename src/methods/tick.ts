import { toMilliseconds, type Duration } from '../engine/duration.js';
import { duration, show } from '../option-values.js';
import { misconfigured } from '../options-check.js';

/** Clocks that differ by more than this are out of order. */
const LARGEST_DIFFERENCE_MS = 60_000;

/**
 * A key for `@Idempotent({ key: tick('1h') })` above a `@Cron()` that fires every hour: the same on every
 * instance for one tick. It is the time of the nearest multiple of `period` since 1970 (UTC), because timers
 * fire a little early or late and clocks differ a little.
 *
 * @param period milliseconds, or text such as `'30s'`, `'5m'`, `'1h'`, `'1d'`
 * @param offset how far the ticks are from the multiples: `tick('1d', '12h')` for every day at noon.
 *   Default 0.
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` at once for what is no duration, and with each call
 *   of the key that comes half way between two ticks, where instances would disagree.
 */
export function tick(period: Duration, offset: Duration = 0): () => string {
  const where = `tick(${[period, ...(offset === 0 ? [] : [offset])].map(show).join(', ')})`;
  const periodMs = checked(period, where);
  const offsetMs = offset === 0 ? 0 : checked(offset, where);
  const margin = Math.min(periodMs / 10, LARGEST_DIFFERENCE_MS);
  return () => {
    const now = Date.now();
    const nearest = Math.round((now - offsetMs) / periodMs) * periodMs + offsetMs;
    if (Math.abs(now - nearest) > periodMs / 2 - margin) {
      throw misconfigured(
        where,
        `at ${new Date(now).toISOString()} it is half way between two ticks, and two instances could take ` +
          'it for different ones. Write how far the ticks are from full periods as the second argument, ' +
          "for example tick('1d', '12h') for every day at noon (UTC).",
      );
    }
    return new Date(nearest).toISOString();
  };
}

function checked(value: unknown, where: string): number {
  const instead = duration(value);
  if (instead !== undefined) {
    throw misconfigured(where, `${show(value)} is no duration. ${instead}`);
  }
  return toMilliseconds(value) as number;
}
