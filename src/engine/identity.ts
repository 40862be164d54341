import { hash, randomBytes } from 'node:crypto';
import { keyTime } from './key-time.js';

/** What names an operation. Two operations are the same one exactly when all four are equal. */
export interface Identity {
  /** Keeps applications and environments apart that share one store. */
  readonly namespace: string;
  /** The principal or tenant on whose behalf the key was sent. */
  readonly scope: string;
  /** The entry point: `http`, `execute`, a consumer's name, … */
  readonly operation: string;
  readonly key: string;
}

/**
 * Text in which no two lists of parts are alike: each part with its length before it.
 */
export function lengthPrefixed(parts: readonly string[]): string {
  let text = '';
  for (const part of parts) {
    text += `${part.length}:${part}`;
  }
  return text;
}

/**
 * A digest of UTF-16 code units, because UTF-8 would turn every lone surrogate into the same replacement
 * character. In one call: an object for it, and every crossing into native code, costs more than hashing short text.
 */
export function digest(parts: readonly string[]): Buffer {
  return hash('sha256', Buffer.from(lengthPrefixed(parts), 'utf16le'), 'buffer');
}

/**
 * The record's primary key, as 32 hex digits: 2 bytes for the day on which the key was made, 0 if it does not say
 * so, and 14 bytes of a digest. What is written on one day lies together then, and can be deleted as a whole.
 */
export function recordId({ namespace, scope, operation, key }: Identity): string {
  const id = digest(['nestjs-idempotency/record/1', namespace, scope, operation, key]);
  id.writeUInt16BE(dayOf(key));
  return id.toString('hex', 0, 16);
}

const DAY_MS = 86_400_000;
/** What 2 bytes hold: June 2149. */
const LAST_DAY = 0xffff;

function dayOf(key: string): number {
  const day = Math.floor((keyTime(key) ?? 0) / DAY_MS);
  return day > LAST_DAY ? 0 : day;
}

const TOKEN_BYTES = 16;
const POOLED_TOKENS = 256;
let pool = Buffer.alloc(0);

/** A new owner token: 128 random bits as 32 hex digits. Drawn in bulk: asking for each would block longer. */
export function newOwner(): string {
  if (pool.length === 0) {
    pool = randomBytes(TOKEN_BYTES * POOLED_TOKENS);
  }
  const token = pool.toString('hex', 0, TOKEN_BYTES);
  pool = pool.subarray(TOKEN_BYTES);
  return token;
}

/** A key for the next system: the same for every attempt of the same record, and tells nothing of it. */
export function derivedKey(id: string, name: string): string {
  return digest(['nestjs-idempotency/derived/1', id, name]).toString('hex', 0, 16);
}
