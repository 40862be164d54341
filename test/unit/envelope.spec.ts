import { crc32 } from 'node:zlib';
import { jest } from '@jest/globals';
import fc from 'fast-check';
import {
  decodeEnvelope,
  encodeEnvelope,
  withTrace,
  type Envelope,
} from '../../src/engine/envelope.js';
import { IdempotencyError } from '../../src/engine/errors.js';

jest.setTimeout(60_000); // for a machine that is busy; alone it takes a second

const envelopes = fc.record<Envelope>({
  kind: fc.constantFrom('http', 'value', 'error'),
  meta: fc.dictionary(
    fc.string(),
    fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value))),
  ),
  body: fc.uint8Array({ maxLength: 300 }),
});

function failure(stored: Uint8Array | null): unknown {
  try {
    return decodeEnvelope(stored);
  } catch (error) {
    return error;
  }
}

function isUnreadable(stored: Uint8Array): boolean {
  const error = failure(stored);
  return (
    error instanceof IdempotencyError &&
    error.code === 'IDEMPOTENCY_RECORD_UNREADABLE' &&
    /^The recorded outcome of this key cannot be read: .*\.$/.test(error.message)
  );
}

function forged(head: string): Uint8Array {
  const bytes = Buffer.from(encodeEnvelope({ kind: 'http', meta: {}, body: new Uint8Array() }));
  const whole = Buffer.concat([bytes.subarray(0, 11), Buffer.from(head)]);
  whole.writeUInt32BE(Buffer.byteLength(head), 7);
  whole.writeUInt32BE(crc32(whole.subarray(7)), 3);
  return whole;
}

describe('the envelope', () => {
  it('gives back what was put in, byte for byte', () => {
    fc.assert(
      fc.property(envelopes, (envelope) => {
        const { body, ...head } = decodeEnvelope(encodeEnvelope(envelope));
        return (
          JSON.stringify(head) === JSON.stringify({ kind: envelope.kind, meta: envelope.meta }) &&
          Buffer.from(body).equals(envelope.body)
        );
      }),
      { numRuns: 500 },
    );
  });

  it('reads bytes that lie in the middle of a larger buffer', () => {
    const bytes = encodeEnvelope({ kind: 'value', meta: {}, body: Buffer.from('hello') });
    const larger = Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')]);
    const stored = new Uint8Array(larger.buffer, larger.byteOffset + 6, bytes.length);
    expect(Buffer.from(decodeEnvelope(stored).body).toString()).toBe('hello');
  });

  it('takes the trace of its run along, and is the same without one', () => {
    const envelope = { kind: 'value', meta: { a: 1 }, body: Buffer.from('hello') } as const;
    const plain = encodeEnvelope(envelope);
    expect(Buffer.from(plain).subarray(11).toString()).toBe('{"kind":"value","meta":{"a":1}}hello');
    expect(decodeEnvelope(plain)).toEqual(envelope);
    const traced = withTrace(withTrace(plain, 'earlier'), 'trace');
    expect(decodeEnvelope(traced)).toEqual({ ...envelope, trace: 'trace' });
  });

  it('keeps a megabyte of every byte', () => {
    const body = Buffer.from(Uint8Array.from({ length: 1_048_576 }, (_, index) => index));
    const read = decodeEnvelope(encodeEnvelope({ kind: 'http', meta: {}, body }));
    expect(body.equals(read.body)).toBe(true);
  });

  it('is unreadable after any change of one byte', () => {
    fc.assert(
      fc.property(envelopes, fc.nat(), fc.integer({ min: 1, max: 255 }), (envelope, at, change) => {
        const bytes = Buffer.from(encodeEnvelope(envelope));
        const place = at % bytes.length;
        bytes[place] = (bytes[place] as number) ^ change;
        return isUnreadable(bytes);
      }),
      { numRuns: 500 },
    );
  });

  it('is unreadable after every change of one bit', () => {
    const bytes = Buffer.from(
      encodeEnvelope({ kind: 'http', meta: { status: 201 }, body: Buffer.from('{"id":1}') }),
    );
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const copy = Buffer.from(bytes);
      copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(isUnreadable(copy)).toBe(true);
    }
  });

  it('is unreadable when it was cut, or when something was added', () => {
    fc.assert(
      fc.property(envelopes, fc.nat(), fc.uint8Array({ minLength: 1 }), (envelope, at, added) => {
        const bytes = encodeEnvelope(envelope);
        return (
          isUnreadable(bytes.subarray(0, at % bytes.length)) &&
          isUnreadable(Buffer.concat([bytes, added]))
        );
      }),
      { numRuns: 500 },
    );
  });

  it('is unreadable for bytes of anybody else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        return isUnreadable(bytes) && isUnreadable(Buffer.concat([Buffer.from('NI\x01'), bytes]));
      }),
      { numRuns: 500 },
    );
  });

  it('says what is wrong with it', () => {
    const bytes = Buffer.from(encodeEnvelope({ kind: 'http', meta: {}, body: new Uint8Array() }));
    bytes[2] = 9;
    const longHead = Buffer.from(forged('{}'));
    longHead.writeUInt32BE(1_000, 7);
    longHead.writeUInt32BE(crc32(longHead.subarray(7)), 3);
    const message = (stored: Uint8Array | null): string => (failure(stored) as Error).message;
    expect(message(null)).toContain('it is empty');
    expect(message(Buffer.from('{"status":200}'))).toContain('it was not written by this library');
    expect(message(bytes)).toContain('its format is version 9, and this server reads version 1');
    expect(message(longHead)).toContain('its bytes were damaged');
    expect(message(forged('not json'))).toContain('it was not written by this library');
    expect(failure(null)).toBeInstanceOf(IdempotencyError);
  });

  it('never changes: records outlive a release', () => {
    const bytes = encodeEnvelope({ kind: 'http', meta: { status: 201 }, body: Buffer.from('ok') });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '4e49010132fe6b000000257b226b696e64223a2268747470222c226d657461223a7b22737461747573223a3230317d7d6f6b',
    );
  });
});
