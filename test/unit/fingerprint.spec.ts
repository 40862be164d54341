import { isDeepStrictEqual } from 'node:util';
import { jest } from '@jest/globals';
import fc from 'fast-check';
import { TooDeepError } from '../../src/engine/canonical-json.js';
import { compareFingerprints, fingerprint } from '../../src/engine/fingerprint.js';
import { derivedKey, newOwner, recordId, type Identity } from '../../src/engine/identity.js';

jest.setTimeout(60_000); // for a machine that is busy; alone it takes a second

const identity: Identity = { namespace: 'shop', scope: 'alice', operation: 'http', key: 'k-1' };

/** Few and nasty, so that parts which run into each other are hit often. */
const part = fc.string({
  unit: fc.constantFrom(
    'a',
    'A',
    '1',
    ':',
    '1:',
    '\0',
    '|',
    '\ud800',
    '\udc00',
    '\ufffd',
    'é',
    'é',
  ),
  maxLength: 3,
});
const identities = fc.record<Identity>({
  namespace: part,
  scope: part,
  operation: part,
  key: part,
});

function uuidV7(time: number): string {
  const digits = time.toString(16).padStart(12, '0');
  return `${digits.slice(0, 8)}-${digits.slice(8)}-7cc3-98c4-dc0c0c07398f`;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('recordId', () => {
  it('is the same for the same identity and differs for every other', () => {
    fc.assert(
      fc.property(identities, identities, (one, other) => {
        return (recordId(one) === recordId(other)) === isDeepStrictEqual({ ...one }, { ...other });
      }),
      { numRuns: 5_000 },
    );
  });

  it('keeps parts apart that move over a border', () => {
    const parts = fc.tuple(part, part, part, part, fc.nat({ max: 2 }));
    fc.assert(
      fc.property(parts, ([namespace, scope, operation, key, border]) => {
        const list = [namespace, scope, operation, key];
        const moved = [...list];
        const whole = `${list[border]}${list[border + 1]}`;
        moved[border] = whole.slice(0, (list[border] as string).length + 1);
        moved[border + 1] = whole.slice((list[border] as string).length + 1);
        const [a = '', b = '', c = '', d = ''] = moved;
        const other = { namespace: a, scope: b, operation: c, key: d };
        const same = isDeepStrictEqual(list, moved);
        return (recordId(other) === recordId({ namespace, scope, operation, key })) === same;
      }),
      { numRuns: 5_000 },
    );
  });

  it.each([
    ['case', 'k', 'K'],
    ['a trailing blank', 'k', 'k '],
    ['composition (NFC and NFD)', '\u00e9', 'e\u0301'],
    ['width', 'k', '\uff4b'],
    ['lone surrogates', '\ud800', '\udbff'],
    ['a lone surrogate and the replacement character', '\ud800', '\ufffd'],
    ['the end of 4,000 characters', `${'x'.repeat(3_999)}a`, `${'x'.repeat(3_999)}b`],
    ['names of built-in members', '__proto__', 'constructor'],
  ])('minds %s', (_, one, other) => {
    expect(recordId({ ...identity, key: one })).not.toBe(recordId({ ...identity, key: other }));
  });

  it.each([
    ['a UUIDv7', uuidV7(Date.UTC(2026, 10, 24, 23, 59, 59, 999)), 20_781],
    ['a UUIDv7 of the next day', uuidV7(Date.UTC(2026, 10, 25)), 20_782],
    ['a ULID', '01ARZ3NDEKTSV4RRFFQ69G5FAV', 17_012],
    ['a UUIDv7 of the first day, which is that of keys without a time', uuidV7(0), 0],
    ['a UUIDv7 of the last day', uuidV7(65_536 * 86_400_000 - 1), 65_535],
    ['a UUIDv7 of the day after', uuidV7(65_536 * 86_400_000), 0],
    ['a UUIDv7 of the end of time', uuidV7(2 ** 48 - 1), 0],
    ['a UUIDv4', '8e03978e-40d5-43dd-bc93-6894a57f9324', 0],
    ['any other text', 'order-42', 0],
  ])('begins with the day of %s', (_, key, day) => {
    const id = recordId({ ...identity, key });
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(Number.parseInt(id.slice(0, 4), 16)).toBe(day);
  });

  it('never changes: records outlive a release', () => {
    expect(recordId(identity)).toBe('0000f06c77605564b7525aced7c165ee');
    expect(recordId({ ...identity, key: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f' })).toBe(
      '4a65a07d470d9693ba1957e12671fe39',
    );
    expect(derivedKey(recordId(identity), 'charge')).toBe('fc48c711d955014c584bfbc35f4606a6');
    expect(hex(fingerprint(identity, { body: { a: 1 }, path: '/orders' }))).toBe(
      '01971a46de6e4ed02693c433ec32c8940c',
    );
  });
});

describe('derivedKey and newOwner', () => {
  it('derives another key for each name and each record, and tells nothing of either', () => {
    const keys = [
      derivedKey('a', 'b'),
      derivedKey('a', 'c'),
      derivedKey('ab', ''),
      derivedKey('', 'ab'),
    ];
    expect(new Set(keys).size).toBe(4);
    expect(keys.every((text) => /^[0-9a-f]{32}$/.test(text))).toBe(true);
  });

  it('makes owners of 128 random bits', () => {
    const owners = Array.from({ length: 100 }, newOwner);
    expect(new Set(owners).size).toBe(100);
    expect(owners.every((owner) => /^[0-9a-f]{32}$/.test(owner))).toBe(true);
  });
});

describe('fingerprint', () => {
  it('is a version byte and 16 bytes', () => {
    expect(hex(fingerprint(identity, {}))).toMatch(/^01[0-9a-f]{32}$/);
  });

  it('does not mind the order of parts nor of members', () => {
    expect(fingerprint(identity, { a: { x: 1, y: 2 }, b: 2 })).toEqual(
      fingerprint(identity, { b: 2, a: { y: 2, x: 1 } }),
    );
  });

  it('minds every part, its name and the whole identity', () => {
    const prints = [
      fingerprint(identity, { a: 1 }),
      fingerprint(identity, { a: '1' }),
      fingerprint(identity, { b: 1 }),
      fingerprint(identity, { a: 1, b: 1 }),
      fingerprint(identity, {}),
      ...(['namespace', 'scope', 'operation', 'key'] as const).map((name) =>
        fingerprint({ ...identity, [name]: 'other' }, { a: 1 }),
      ),
    ];
    expect(new Set(prints.map(hex)).size).toBe(prints.length);
  });

  it('differs for unequal payloads', () => {
    const values = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);
    fc.assert(
      fc.property(values, values, (one, other) => {
        const compared = compareFingerprints(
          fingerprint(identity, { body: one }),
          fingerprint(identity, { body: other }),
        );
        return compared === (isDeepStrictEqual(one, other) ? 'same' : 'different');
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuses a part that is nested too deep', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => fingerprint(identity, { body: cycle })).toThrow(TooDeepError);
  });
});

describe('compareFingerprints', () => {
  const stored = fingerprint(identity, {});

  it.each([
    ['empty', new Uint8Array()],
    ['of another version', Uint8Array.from([2, ...stored.subarray(1)])],
    ['cut short', stored.subarray(0, 16)],
    ['longer', Buffer.concat([stored, Buffer.of(0)])],
  ])('cannot read one that is %s', (_, other) => {
    expect(compareFingerprints(other, stored)).toBe('unreadable');
  });

  it('sees every changed byte', () => {
    for (let at = 1; at < stored.length; at += 1) {
      const other = Uint8Array.from(stored);
      other[at] = (other[at] as number) ^ 1;
      expect(compareFingerprints(other, stored)).toBe('different');
    }
  });
});
