import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';

/** Ids up to here stay readable; longer ones become a digest. */
const LONGEST_ID = 255;

/**
 * An id as one bounded string, however the transport brought it: text, number, bytes, a list (its first
 * entry), or what a parser made of it. `undefined` when there is none.
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
  // a header that began with a brace, and was parsed
  return JSON.stringify(value);
}
