import { decodeEnvelope } from '../../src/engine/envelope.js';
import type { VerdictResponse } from '../../src/engine/unknown-outcome.js';
import { readResponse } from '../../src/http/recorded-response.js';
import { encodeResponseVerdict } from '../../src/http/response-verdict.js';
import { decodeOutcome, encodeValueVerdict } from '../../src/value-codec.js';

const MISCONFIGURED = 'IDEMPOTENCY_MISCONFIGURED';
const responseOf = (response: unknown) =>
  encodeResponseVerdict({ response: response as VerdictResponse }, 100, 'here');

describe('a verdict about a request', () => {
  it.each<[what: string, given: VerdictResponse, headers: object, body: string | Buffer]>([
    ['a status alone', { status: 204 }, {}, ''],
    [
      'JSON',
      { status: 201, body: { id: 1 } },
      { 'Content-Type': 'application/json; charset=utf-8' },
      '{"id":1}',
    ],
    [
      'null',
      { status: 200, body: null },
      { 'Content-Type': 'application/json; charset=utf-8' },
      'null',
    ],
    ['text', { status: 200, body: 'é' }, { 'Content-Type': 'text/plain; charset=utf-8' }, 'é'],
    [
      'bytes',
      { status: 200, body: Buffer.of(0, 255) },
      { 'Content-Type': 'application/octet-stream' },
      Buffer.of(0, 255),
    ],
    [
      'headers of its own',
      {
        status: 201,
        headers: { 'content-TYPE': 'text/csv', Location: '/1', 'X-A': ['1', '2'] },
        body: 'a,b',
      },
      { 'content-TYPE': 'text/csv', Location: '/1', 'X-A': ['1', '2'] },
      'a,b',
    ],
  ])('of %s is recorded as a response', (_, given, headers, body) => {
    const response = readResponse(decodeEnvelope(responseOf(given)));
    expect(response).toEqual({ status: given.status, headers, body: Buffer.from(body) });
  });

  it.each<[what: string, given: unknown, sentence: RegExp]>([
    ['is nothing', null, /^here: the verdict's response cannot be sent\. Write \{ response: /],
    ['cannot be JSON', { status: 200, body: 1n }, /response cannot be sent/],
    ['is a function', { status: 200, body: () => 1 }, /response cannot be sent/],
    ['has no status', { body: 'x' }, /a status or a header that cannot be sent/],
    ['has a status that is none', { status: 99 }, /a status or a header that cannot be sent/],
    ['would split the response', { status: 200, headers: { a: 'b\r\nc: d' } }, /cannot be sent/],
    ['is too large', { status: 200, body: 'x'.repeat(101) }, /maxResultBytes \(100\)/],
    [
      'belongs to one connection',
      { status: 200, headers: { 'Set-Cookie': 'a=1' } },
      /header 'set-cookie'.*Leave it out\./,
    ],
  ])('that %s is refused in a sentence', (_, given, sentence) => {
    expect(() => responseOf(given)).toThrow(
      expect.objectContaining({ code: MISCONFIGURED, message: expect.stringMatching(sentence) }),
    );
  });

  it('needs a response', () => {
    expect(() => encodeResponseVerdict({ result: 1 }, 100, 'here')).toThrow(
      /^here: the verdict holds a result, but the outcome of a request is a response\./,
    );
  });
});

describe('a verdict about a value', () => {
  it('is recorded with its types', () => {
    const result = { at: new Date(0), sum: 5n };
    expect(decodeOutcome(decodeEnvelope(encodeValueVerdict({ result }, 200, 'here')))).toEqual({
      value: result,
    });
  });

  it.each([
    ['is no plain data', () => 1],
    ['is too large', 'x'.repeat(300)],
  ])('that %s is refused in a sentence', (_, result) => {
    expect(() => encodeValueVerdict({ result }, 200, 'here')).toThrow(
      expect.objectContaining({
        code: MISCONFIGURED,
        message: expect.stringMatching(
          /^here: the result of the verdict cannot be kept: .*'done'\.$/,
        ),
      }),
    );
  });

  it('needs a result', () => {
    expect(() => encodeValueVerdict({ response: { status: 200 } }, 200, 'here')).toThrow(
      /^here: the verdict holds a response, but only a request has one\./,
    );
  });
});
