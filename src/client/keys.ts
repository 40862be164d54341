import { misused } from './errors.js';

/**
 * A UUIDv7 (RFC 9562, section 5.7): time and 74 random bits. A server refuses one that is older than it keeps
 * outcomes, instead of running the request again.
 *
 * @param now epoch milliseconds
 */
export function uuidv7(now = Date.now()): string {
  const bytes = random(16);
  for (let index = 0; index < 6; index += 1) {
    bytes[index] = now / 2 ** (40 - 8 * index);
  }
  return uuid(bytes, 7);
}

/** A UUIDv4 (RFC 9562, section 5.4): 122 random bits. */
export function uuidv4(): string {
  return uuid(random(16), 4);
}

/** The time and 128 random bits, for people who read logs: `2026-11-24T10:00:00.000Z-9f3c…`. */
export function timeKey(): string {
  return `${new Date().toISOString()}-${hex(random(16))}`;
}

export interface KeyedRequest {
  /** @default 'POST' */
  readonly method?: string;
  readonly url: string | URL;
  /** Text, bytes or search parameters as they are sent; everything else counts as the JSON that it becomes. */
  readonly body?: unknown;
}

/**
 * The SHA-256 of a request in hexadecimal: equal requests have equal keys, so that two orders that are meant to be
 * two need something that tells them apart. The order of members in JSON does not count.
 *
 * @throws IdempotencyClientError `IDEMPOTENCY_CLIENT_MISUSED` for forms, blobs and streams, and on pages that were
 *   not loaded over HTTPS, where browsers have no digest
 */
export async function contentKey({ method = 'POST', url, body }: KeyedRequest): Promise<string> {
  // oxlint-disable-next-line typescript/no-unnecessary-condition -- browsers have it in secure contexts only
  if (crypto.subtle === undefined) {
    throw misused('contentKey() needs crypto.subtle, which browsers offer over HTTPS only.');
  }
  const head = new TextEncoder().encode(JSON.stringify([method.toUpperCase(), String(url)]));
  const content = bytesOf(body);
  const all = new Uint8Array(head.length + content.length);
  all.set(head);
  all.set(content, head.length);
  return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', all)));
}

function bytesOf(body: unknown): Uint8Array {
  if (body instanceof ArrayBuffer) {
    return new Uint8Array(body);
  }
  if (ArrayBuffer.isView(body)) {
    return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  }
  return new TextEncoder().encode(textOf(body));
}

function textOf(body: unknown): string {
  if (typeof body === 'string' || body instanceof URLSearchParams) {
    return String(body);
  }
  const tag = Object.prototype.toString.call(body);
  if (typeof body === 'object' && !/^\[object (Object|Array|Null)\]$/.test(tag)) {
    throw misused(`contentKey() cannot read ${tag}. Give it what makes the intent, as JSON.`);
  }
  return JSON.stringify(body, inOrder) ?? '';
}

function inOrder(_: string, value: unknown): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;
}

function random(size: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(size));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function uuid(bytes: Uint8Array, version: number): string {
  bytes[6] = (version << 4) | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
