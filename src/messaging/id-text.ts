import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { IdempotencyError } from '../engine/errors.js';

/** Ids up to here stay readable; longer ones become a digest. */
const LONGEST_ID = 255;

/**
 * An id as one bounded string, however the transport brought it: text, number, bytes, a list (its first
 * entry), or what a parser made of it. `undefined` when there is none.
 *
 * @throws IdempotencyError `IDEMPOTENCY_KEY_INVALID` for what has no text of its own: other messages would share it
 */
export function idText(value: unknown): string | undefined {
  const text = textOf(value);
  if (text === undefined || text === '') {
    return undefined;
  }
  return text.length <= LONGEST_ID
    ? text
    : `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

function textOf(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
      if (!isExact(value)) {
        throw invalid('a number that does not name it exactly');
      }
      return String(value);
    case 'bigint':
      return String(value);
    case 'object':
      return value === null ? undefined : textOfObject(value);
    default:
      return undefined;
  }
}

function textOfObject(value: object): string | undefined {
  if (Array.isArray(value)) {
    return textOf(value[0]);
  }
  if (value instanceof Uint8Array) {
    // other bytes have no text of their own, and two ids must not become one
    return isUtf8(value)
      ? Buffer.from(value).toString()
      : `base64:${Buffer.from(value).toString('base64')}`;
  }
  return jsonOf(value);
}

/** Of a header that began with a brace, and was parsed. */
function jsonOf(value: object): string {
  let text: unknown;
  try {
    text = JSON.stringify(value, (_, part: unknown) => {
      if (isLost(part)) {
        throw new TypeError('JSON has no text for this.');
      }
      return part;
    });
  } catch {
    throw invalid('an object that JSON cannot write');
  }
  if (typeof text !== 'string' || text === '{}') {
    throw invalid('an object with nothing in it');
  }
  return text;
}

/** Whether JSON would write what it writes of others, too. */
function isLost(part: unknown): boolean {
  if (typeof part === 'number') {
    return !isExact(part);
  }
  return (
    part !== null &&
    typeof part === 'object' &&
    !Array.isArray(part) &&
    Object.keys(part).length === 0 &&
    Object.getPrototypeOf(part) !== Object.prototype
  );
}

/** `NaN` is any number, and large ones were rounded when they were parsed: two ids may have become one. */
function isExact(value: number): boolean {
  return Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value));
}

function invalid(what: string): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_KEY_INVALID',
    `The id of the message is ${what}, and others could have the same. Let its sender write it as text.`,
  );
}
