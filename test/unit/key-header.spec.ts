import { jest } from '@jest/globals';
import fc from 'fast-check';
import { parseKey, serializeKey, type KeyRules } from '../../src/engine/key-header.js';

jest.setTimeout(60_000); // for a machine that is busy; alone it takes a second

const lenient: KeyRules = { strict: false, maxLength: 255 };
const strict: KeyRules = { strict: true, maxLength: 255 };

const printable = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 255,
});
const key = printable.filter((text) => text.trim() !== '');
const blanks = fc.string({ unit: fc.constantFrom(' ', '\t'), maxLength: 4 });
const parameters = fc
  .array(fc.constantFrom(';a', '; a=1', ' ; b="x,y"', ';c="\\""', ';d=?1', ';'), { maxLength: 3 })
  .map((list) => list.join(''));
/** Characters that matter to the grammar, far more often than chance would have them. */
const hostile = fc.string({
  unit: fc.constantFrom(
    '"',
    '\\',
    ',',
    ';',
    '=',
    ' ',
    '\t',
    'a',
    '1',
    '?',
    ':',
    '\0',
    'é',
    '\ud800',
  ),
  maxLength: 40,
});

/** The grammar written down once more, as regular expressions. */
function byGrammar(value: string, { strict: quotedOnly, maxLength }: KeyRules): string | undefined {
  const text = value.replace(/^[ \t]+/, '').replace(/(?<![ \t])[ \t]+$/, '');
  if (!/^[\x20-\x7e]+$/.test(text)) {
    return undefined;
  }
  const quoted = /^"((?:[^"\\]|\\["\\])*)"(?: *;(?:[^",]|"(?:[^"\\]|\\.)*")*)?$/.exec(text);
  const found = text.startsWith('"')
    ? quoted?.[1]?.replace(/\\(.)/g, '$1')
    : quotedOnly || /[",]/.test(text)
      ? undefined
      : text;
  return found !== undefined && found.trim() !== '' && found.length <= maxLength
    ? found
    : undefined;
}

function parsed(value: string, rules: KeyRules): string | undefined {
  const answer = parseKey(value, rules);
  return 'key' in answer ? answer.key : undefined;
}

describe('parseKey', () => {
  it.each([
    ['abc', 'abc'],
    ['"abc"', 'abc'],
    ['  "abc"\t', 'abc'],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ['"a,b"', 'a,b'],
    ['"abc";p=1; q="x,\\"y"', 'abc'],
    ['"abc" ;p', 'abc'],
    ['a b', 'a b'],
    ['a\\b', 'a\\b'],
    [' 8e03978e-40d5-43dd-bc93-6894a57f9324 ', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['"  inner  "', '  inner  '],
    ['k'.repeat(255), 'k'.repeat(255)],
  ])('reads %j', (value, expected) => {
    expect(parseKey(value, lenient)).toEqual({ key: expected });
  });

  it.each([
    ['', 'is empty'],
    [' \t ', 'is empty'],
    ['""', 'is blank'],
    ['"   "', 'is blank'],
    ['"abc', 'has no closing quote'],
    ['"', 'has no closing quote'],
    ['"a\\', 'has a broken escape'],
    ['"a\\n"', 'has a broken escape'],
    ['"a"x', 'has text after the closing quote'],
    ['"a" x', 'has text after the closing quote'],
    ['"a" "b"', 'has text after the closing quote'],
    ['"a"; p="x', 'has no closing quote'],
    ['"a"; p="x\\', 'has no closing quote'],
    ['"a", "b"', 'holds more than one value'],
    ['"a";p=1,"b"', 'holds more than one value'],
    ['a,b', 'holds more than one value'],
    ['a"b', 'has a quote inside an unquoted key'],
    ['a\u0000b', 'holds a character that is not printable ASCII'],
    ['a\tb', 'holds a character that is not printable ASCII'],
    ['a\u007f', 'holds a character that is not printable ASCII'],
    ['ключ', 'holds a character that is not printable ASCII'],
    ['k'.repeat(256), 'is longer than 255 characters'],
    [`"${'k'.repeat(256)}"`, 'is longer than 255 characters'],
  ])('refuses %j', (value, problem) => {
    expect(parseKey(value, lenient)).toEqual({ problem: expect.stringContaining(problem) });
  });

  it.each(['42', '-1.5', ':YWJj:', '?1', 'token', '("a" "b")', '"a", "b"'])(
    'in strict mode takes a String only, not %j',
    (value) => {
      expect(parseKey(value, strict)).toEqual({ problem: expect.any(String) });
    },
  );

  it('narrows keys by a pattern', () => {
    const rules = { ...lenient, pattern: /^[0-9a-f]+$/ };
    expect(parseKey('"0af"', rules)).toEqual({ key: '0af' });
    expect(parseKey('"xyz"', rules)).toEqual({
      problem: 'does not have the form that this route asks for',
    });
  });

  it('gives back every key that was serialised, with blanks and parameters around it', () => {
    fc.assert(
      fc.property(key, blanks, blanks, parameters, (text, before, after, rest) => {
        const value = before + serializeKey(text) + rest + after;
        return parsed(value, strict) === text && parsed(value, lenient) === text;
      }),
      { numRuns: 2_000 },
    );
  });

  it('reads a bare key as the same key as its quoted form', () => {
    const bare = key.map((text) => text.replace(/[",]/g, '').trim()).filter((text) => text !== '');
    fc.assert(
      fc.property(
        bare,
        (text) => parsed(text, lenient) === text && parsed(serializeKey(text), lenient) === text,
      ),
      { numRuns: 2_000 },
    );
  });

  it('agrees with the grammar on mutated and on hostile values', () => {
    const mutated = fc
      .tuple(key, parameters, fc.nat(), fc.nat({ max: 2 }), hostile)
      .map(([text, rest, at, removed, inserted]) => {
        const value = serializeKey(text) + rest;
        const place = at % (value.length + 1);
        return value.slice(0, place) + inserted + value.slice(place + removed);
      });
    fc.assert(
      fc.property(fc.oneof(mutated, hostile), fc.boolean(), (value, quotedOnly) => {
        const rules = { strict: quotedOnly, maxLength: 30 };
        return parsed(value, rules) === byGrammar(value, rules);
      }),
      { numRuns: 10_000 },
    );
  });

  it('answers any text with a key that keeps the rules or the end of a sentence', () => {
    const sizes = fc.oneof(
      { weight: 49, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
      { weight: 1, arbitrary: fc.string({ unit: 'binary-ascii', size: 'max', maxLength: 16_384 }) },
    );
    fc.assert(
      fc.property(fc.oneof(sizes, hostile), fc.boolean(), (value, quotedOnly) => {
        const answer = parseKey(value, { strict: quotedOnly, maxLength: 255 });
        return 'key' in answer
          ? /^[\x20-\x7e]{1,255}$/.test(answer.key)
          : // so short that it quotes nothing of the value
            /^(is|has|holds|does) .{1,90}[^.]$/.test(answer.problem);
      }),
      { numRuns: 3_000 },
    );
  });

  it.each(['"', '\\', '\\"', ' ', '\t', ';', ',', 'a', '"a"', ' ;"'])(
    'reads a long run of %j in one pass: another pass for every character would never end',
    (piece) => {
      const long = piece.repeat(200_000 / piece.length);
      for (const value of [long, `"${long}`, `"a"${long}`, `"a";${long}x`, `${long}"a"`]) {
        expect(parsed(value, lenient)).toBe(byGrammar(value, lenient));
      }
    },
  );
});
