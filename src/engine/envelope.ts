import { crc32 } from 'node:zlib';
import { IdempotencyError } from './errors.js';

/**
 * What a store keeps as opaque bytes: `N I 1`, a checksum of all that follows, the length of a JSON
 * head, the head, and the body byte for byte. The head says what the body is.
 */
const MAGIC = Buffer.from('NI');
/** How encrypted bytes begin that could not be opened. */
const SEALED = Buffer.from('NE');
export const ENVELOPE_VERSION = 1;
const HEAD_AT = 11;

export interface Envelope {
  /**
   * `http`: a response. `value`: what a method or `execute()` returned. `error`: what it threw. `steps`: what an
   * attempt without an outcome has done so far.
   */
  readonly kind: 'http' | 'value' | 'error' | 'steps';
  readonly meta: Readonly<Record<string, unknown>>;
  readonly body: Uint8Array;
  /** The W3C `traceparent` of the run that recorded it, where somebody watched. */
  readonly trace?: string | undefined;
}

export function encodeEnvelope({ kind, meta, body, trace }: Envelope): Uint8Array {
  const head = Buffer.from(JSON.stringify({ kind, meta, trace }));
  const bytes = Buffer.allocUnsafe(HEAD_AT + head.length + body.length);
  MAGIC.copy(bytes, 0);
  bytes[2] = ENVELOPE_VERSION;
  bytes.writeUInt32BE(head.length, 7);
  head.copy(bytes, HEAD_AT);
  bytes.set(body, HEAD_AT + head.length);
  bytes.writeUInt32BE(crc32(bytes.subarray(7)), 3);
  return bytes;
}

/** The same envelope, of a run with that trace. */
export function withTrace(envelope: Uint8Array, trace: string): Uint8Array {
  return encodeEnvelope({ ...decodeEnvelope(envelope), trace });
}

/**
 * @throws IdempotencyError `IDEMPOTENCY_RECORD_UNREADABLE` for anything that `encodeEnvelope` of this
 *   version did not write: damaged bytes, a later version, another library's record.
 */
export function decodeEnvelope(stored: Uint8Array | null): Envelope {
  if (stored === null) {
    throw unreadable('it is empty');
  }
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  if (isSealed(bytes)) {
    throw unreadable('it is encrypted, and no key of this server opens it');
  }
  if (bytes.length < HEAD_AT || !bytes.subarray(0, 2).equals(MAGIC)) {
    throw unreadable('it was not written by this library');
  }
  if (bytes[2] !== ENVELOPE_VERSION) {
    throw unreadable(
      `its format is version ${bytes[2]}, and this server reads version ${ENVELOPE_VERSION}`,
    );
  }
  const headLength = bytes.readUInt32BE(7);
  if (bytes.readUInt32BE(3) !== crc32(bytes.subarray(7)) || HEAD_AT + headLength > bytes.length) {
    throw unreadable('its bytes were damaged');
  }
  return {
    ...decodeHead(bytes.subarray(HEAD_AT, HEAD_AT + headLength)),
    body: bytes.subarray(HEAD_AT + headLength),
  };
}

export function isSealed(stored: Uint8Array): boolean {
  return SEALED.equals(stored.subarray(0, 2));
}

function decodeHead(head: Buffer): Omit<Envelope, 'body'> {
  try {
    return JSON.parse(head.toString()) as Omit<Envelope, 'body'>;
  } catch {
    throw unreadable('it was not written by this library');
  }
}

export function unreadable(why: string): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_RECORD_UNREADABLE',
    `The recorded outcome of this key cannot be read: ${why}. Nothing was run. ` +
      'Ask the operator of this service to look at the record.',
  );
}
