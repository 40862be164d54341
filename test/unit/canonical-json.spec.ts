import { isDeepStrictEqual } from 'node:util';
import { jest } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson, MAX_DEPTH, TooDeepError } from '../../src/engine/canonical-json.js';

jest.setTimeout(60_000); // for a machine that is busy; alone it takes a second

/** What travels: `-0` is written as `0`. */
const json = fc
  .jsonValue({ maxDepth: 5 })
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown);

function shuffled(value: unknown, random: (length: number) => number): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => shuffled(item, random));
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  const rest = Object.entries(value);
  const copy: Record<string, unknown> = {};
  while (rest.length > 0) {
    const [[name, item] = ['', undefined]] = rest.splice(random(rest.length), 1);
    Object.defineProperty(copy, name, {
      value: shuffled(item, random),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return copy;
}

function nested(levels: number, wrap: (inner: unknown) => unknown): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) {
    value = wrap(value);
  }
  return value;
}

const LEAVES = [1, '1', 0, -0, '', null, undefined, 'null', 'undefined', true, 'true', NaN, 1n];
const LOOKALIKES = ['number(NaN)', 'bigint(1)', Buffer.from('a'), 'bytes(YQ==)', '{"a":1}', '[]'];
const LISTS = [
  [],
  [[]],
  [[], []],
  [{}],
  [null],
  [undefined],
  [1],
  [[1, 2]],
  new Set(),
  new Set([1]),
];
const MAPS = [new Map(), new Map([[1, 2]]), new Map([[2, 1]]), new Set([[1, 2]])];
const OBJECTS = [
  {},
  { a: 1 },
  { a: '1' },
  { a: null },
  { '': null },
  { a: [1, 2] },
  { a: [1], b: 2 },
];
const UNICODE = ['\ud800', '\ufffd', '\u00e9', 'e\u0301', Infinity, -Infinity];
const NEAR = [...LEAVES, ...LOOKALIKES, ...LISTS, ...MAPS, ...OBJECTS, ...UNICODE];

describe('canonicalJson', () => {
  it('does not mind the order of members', () => {
    const any = fc.infiniteStream(fc.nat());
    fc.assert(
      fc.property(json, any, (value, numbers) => {
        const random = (length: number): number => (numbers.next().value as number) % length;
        return canonicalJson(shuffled(value, random)) === canonicalJson(value);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is JSON of the same value, so that unequal values have unequal texts', () => {
    fc.assert(
      fc.property(json, (value) => {
        return isDeepStrictEqual(JSON.parse(canonicalJson(value)), value);
      }),
      { numRuns: 2_000 },
    );
  });

  it('tells near values apart', () => {
    const near = fc.constantFrom<unknown>(...NEAR);
    fc.assert(
      fc.property(near, near, (one, other) => {
        const same = isDeepStrictEqual(one, other) || one === other;
        return (canonicalJson(one) === canonicalJson(other)) === same;
      }),
      { numRuns: 5_000 },
    );
  });

  it('writes what JSON writes', () => {
    expect(canonicalJson({ b: [1, 'x', null, false], a: { d: 1.5, c: '"' } })).toBe(
      '{"a":{"c":"\\"","d":1.5},"b":[1,"x",null,false]}',
    );
  });

  it('takes a member that is undefined for one that is absent', () => {
    expect(canonicalJson({ a: undefined, b: 1 })).toBe('{"b":1}');
    expect(canonicalJson({ a: undefined })).toBe('{}');
  });

  it('takes what has a JSON form of its own by that form', () => {
    const date = new Date(0);
    expect(canonicalJson({ date })).toBe(canonicalJson({ date: date.toISOString() }));
    expect(canonicalJson({ toJSON: 'no function' })).toBe('{"toJSON":"no function"}');
  });

  it('keeps own members of any name', () => {
    const hostile = '{"__proto__":{"a":1},"constructor":2,"toString":3}';
    expect(canonicalJson(JSON.parse(hostile))).toBe(hostile);
  });

  it('takes functions and symbols for nothing', () => {
    expect(canonicalJson([() => 1, Symbol('x')])).toBe(canonicalJson([undefined, undefined]));
  });

  it('takes bytes by their content, wherever they lie', () => {
    const bytes = Buffer.from('hello');
    expect(canonicalJson(new Uint8Array(bytes))).toBe(canonicalJson(bytes));
    expect(canonicalJson(Buffer.from('x-hello').subarray(2))).toBe(canonicalJson(bytes));
  });

  it.each([
    ['arrays', (inner: unknown) => [inner]],
    ['objects', (inner: unknown) => ({ a: inner })],
    ['maps', (inner: unknown) => new Set([inner])],
  ])('refuses %s nested deeper than the cap, and no others', (_, wrap) => {
    expect(() => canonicalJson(nested(MAX_DEPTH, wrap))).not.toThrow();
    expect(() => canonicalJson(nested(MAX_DEPTH + 1, wrap))).toThrow(TooDeepError);
    expect(() => canonicalJson(nested(200_000, wrap))).toThrow(
      'The value is nested more than 512 levels deep.',
    );
  });

  it('refuses cycles', () => {
    const cycle: Record<string, unknown> = {};
    cycle.left = cycle;
    cycle.right = [cycle, cycle];
    expect(() => canonicalJson(cycle)).toThrow(TooDeepError);
  });
});
