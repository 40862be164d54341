import ms from 'ms';

/** Milliseconds as a number, or text such as `'500ms'`, `'30s'`, `'15m'`, `'24h'`, `'7d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd' | 'w'}`;

/** A hundred years: longer than anything is kept, and far from where numbers end. */
const LONGEST_MS = 100 * 365 * 24 * 60 * 60 * 1000;

/** Milliseconds, or `undefined` when the text or number is no duration from a millisecond to a hundred years. */
export function toMilliseconds(duration: unknown): number | undefined {
  const value =
    typeof duration === 'string' && /^\d{1,15}(\.\d{1,15})?(ms|s|m|h|d|w)$/.test(duration)
      ? ms(duration as ms.StringValue)
      : duration;
  if (typeof value !== 'number' || !(value >= 1 && value <= LONGEST_MS)) {
    return undefined;
  }
  return Math.round(value);
}
