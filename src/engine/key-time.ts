const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i;
const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
/** Before there were such keys: digits padded with zeros are no ULID, though they have its form. */
const FIRST_PLAUSIBLE = Date.UTC(2016, 0);

/**
 * When a key was made, in epoch milliseconds, if it says so itself: UUIDv7 (RFC 9562, section 5.7)
 * and ULID. `undefined` for every other key.
 */
export function keyTime(key: string): number | undefined {
  if (UUID_V7.test(key)) {
    return Number.parseInt(key.slice(0, 8) + key.slice(9, 13), 16);
  }
  if (ULID.test(key)) {
    let time = 0;
    for (const digit of key.slice(0, 10).toUpperCase()) {
      time = time * 32 + CROCKFORD.indexOf(digit);
    }
    return time < FIRST_PLAUSIBLE ? undefined : time;
  }
  return undefined;
}

/**
 * How long the outcome of a key is kept. A client whose clock is ahead makes keys that look younger than they
 * are: their outcomes are kept for as long as the key itself would pass for a fresh one.
 */
export function windowOf(key: string, ttlMs: number, now: number): number {
  const ahead = Math.max(0, (keyTime(key) ?? now) - now);
  return ahead > ttlMs ? ttlMs : ttlMs + ahead;
}
