import { validateHeaderName, validateHeaderValue } from 'node:http';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { encodeEnvelope, unreadable, type Envelope } from '../engine/envelope.js';
import { redacted } from './redaction.js';
import { REPLAYED_HEADERS } from './replayed-headers.js';

export interface WireResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: Buffer;
  /** The headers' names as they were written, where they differ from lower case. */
  readonly names?: Readonly<Record<string, string>>;
}

export interface KeepRules {
  /** Headers to keep besides the usual ones. Lower case. */
  readonly replayHeaders: readonly string[];
  readonly maxResultBytes: number;
  /** Fields that are not kept. */
  readonly redact: readonly (readonly string[])[];
}

/**
 * The bytes to keep of a response, or `undefined` when it cannot be kept: its body is in an encoding
 * that a later caller might not accept and that cannot be undone here, is too large without it, or has
 * fields to redact that nobody finds.
 */
export function recordResponse(
  response: WireResponse,
  { replayHeaders, maxResultBytes, redact }: KeepRules,
): Uint8Array | undefined {
  const whole = identityBody(response, maxResultBytes);
  const kept = whole && redacted({ ...response, body: whole }, redact);
  if (kept === undefined) {
    return undefined;
  }
  const headers: Record<string, string | string[]> = {};
  for (const name of [...REPLAYED_HEADERS, ...replayHeaders]) {
    const value = kept.headers[name];
    if (value !== undefined) {
      headers[kept.names?.[name] ?? name] = value;
    }
  }
  const { status, body } = kept;
  return encodeEnvelope({ kind: 'http', meta: { status, headers }, body });
}

/** @throws IdempotencyError `IDEMPOTENCY_RECORD_UNREADABLE` */
export function readResponse({ kind, meta, body }: Envelope): WireResponse {
  const { status, headers } = meta as { status?: unknown; headers?: unknown };
  if (kind !== 'http' || !isStatus(status) || !areHeaders(headers)) {
    throw unreadable('it does not hold a response');
  }
  return {
    status,
    headers,
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  };
}

function isStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 599;
}

/** Node would refuse to send anything else, and there would be no answer at all. */
function areHeaders(headers: unknown): headers is WireResponse['headers'] {
  if (headers === null || typeof headers !== 'object') {
    return false;
  }
  try {
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name);
      [value].flat().forEach((line: string) => validateHeaderValue(name, line));
    }
    return true;
  } catch {
    return false;
  }
}

/** Undoes the content encoding: the next caller may accept another one, and gets its own. */
function identityBody(
  { headers, body }: WireResponse,
  maxOutputLength: number,
): Buffer | undefined {
  const encoding = headers['content-encoding'];
  if (encoding === undefined || encoding === 'identity' || body.length === 0) {
    return body;
  }
  try {
    switch (encoding) {
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(body, { maxOutputLength });
      case 'deflate':
        return inflateSync(body, { maxOutputLength });
      case 'br':
        return brotliDecompressSync(body, { maxOutputLength });
      default:
        return undefined;
    }
  } catch {
    return undefined;
  }
}
