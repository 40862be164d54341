import { decodeEnvelope, encodeEnvelope } from '../../src/engine/envelope.js';
import { readResponse, recordResponse } from '../../src/http/recorded-response.js';

const RULES = { replayHeaders: ['x-order'], maxResultBytes: 1_000, redact: [] };
const body = Buffer.from('{"id":1}');

describe('a recorded response', () => {
  it('is read back with the headers that are kept, as they were written', () => {
    const stored = recordResponse(
      {
        status: 201,
        headers: { 'content-type': 'text/plain', 'x-order': ['1', '2'], 'set-cookie': 'a=1' },
        names: { 'content-type': 'Content-Type' },
        body,
      },
      RULES,
    );
    expect(readResponse(decodeEnvelope(stored ?? null))).toEqual({
      status: 201,
      headers: { 'Content-Type': 'text/plain', 'x-order': ['1', '2'] },
      body,
    });
  });

  it.each<[string, Record<string, unknown>]>([
    ['no status', { headers: {} }],
    ['a status that is none', { status: 42, headers: {} }],
    ['a status that Node would refuse', { status: 201.5, headers: {} }],
    ['no headers', { status: 201 }],
    ['a header that would split the response', { status: 201, headers: { location: 'a\r\nb: c' } }],
    ['a header name that is none', { status: 201, headers: { 'a b': 'c' } }],
  ])('with %s is unreadable, and is never begun to be sent', (_, meta) => {
    const stored = encodeEnvelope({ kind: 'http', meta, body });
    expect(() => readResponse(decodeEnvelope(stored))).toThrow(
      expect.objectContaining({ code: 'IDEMPOTENCY_RECORD_UNREADABLE' }),
    );
  });

  it('of a value is no response', () => {
    const stored = encodeEnvelope({ kind: 'value', meta: { status: 201, headers: {} }, body });
    expect(() => readResponse(decodeEnvelope(stored))).toThrow('does not hold a response');
  });

  it('is not kept when its body would be too large without its encoding', async () => {
    const { gzipSync } = await import('node:zlib');
    const bomb = {
      status: 200,
      headers: { 'content-encoding': 'gzip' },
      body: gzipSync(Buffer.alloc(2_000)),
    };
    expect(recordResponse(bomb, RULES)).toBeUndefined();
    expect(recordResponse({ ...bomb, body: gzipSync(Buffer.alloc(900)) }, RULES)).toBeDefined();
  });
});
