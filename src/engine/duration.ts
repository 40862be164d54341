import ms from 'ms';

/** Milliseconds as a number, or text such as `'500ms'`, `'30s'`, `'15m'`, `'24h'`, `'7d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd' | 'w'}`;

/** Milliseconds, or `undefined` when the text or number is not a positive, finite duration. */
export function toMilliseconds(duration: unknown): number | undefined {
  const value =
    typeof duration === 'string' && /^\d{1,15}(\.\d{1,15})?(ms|s|m|h|d|w)$/.test(duration)
      ? ms(duration as ms.StringValue)
      : duration;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 1) {
    return undefined;
  }
  return Math.round(value);
}
