import assert from 'node:assert/strict';
import { MINUTE, bytes, plain, times } from './bench.js';
import type { ContractCase } from './bench.js';

export function bytesCases(test: ContractCase): void {
  const results: Record<string, Uint8Array> = {
    'no byte at all': new Uint8Array(0),
    'one zero byte': new Uint8Array(1),
    'every byte value': Uint8Array.from(times(256, (n) => n)),
    'bytes that are no UTF-8': Uint8Array.of(0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80),
    'trailing blanks and line ends': bytes('x \r\n\t \0'),
    'quotes and escapes': bytes(`'"\`\\'; DROP TABLE x; -- \\x41 \\000 $1 ? :name`),
    'a view into a larger buffer': Buffer.from('abcdef').subarray(2, 4),
  };
  for (const [what, result] of Object.entries(results)) {
    test(`a result of ${what} comes back byte for byte`, async (bench) => {
      const { id } = await bench.completed(result);
      const record = await bench.live(id);
      assert.equal(record.state, 'completed');
      assert.deepEqual(record.result, new Uint8Array(result));
      assert.deepEqual(plain(await bench.held({ id })).result, new Uint8Array(result));
    });
  }

  test('a result of five megabytes comes back byte for byte', async (bench) => {
    const large = Buffer.alloc(5_000_011, Uint8Array.from(times(251, (n) => n)));
    const { id } = await bench.completed(large);
    const { result } = await bench.held({ id });
    assert.ok(result && large.equals(result));
  });

  test('a verdict’s result comes back byte for byte', async (bench) => {
    const result = Uint8Array.from(times(256, (n) => 255 - n));
    const { id } = await bench.uncertain();
    await bench.store.resolve(id, { result, ttlMs: MINUTE });
    assert.deepEqual((await bench.live(id)).result, result);
  });

  for (const length of [1, 17, 32]) {
    test(`a fingerprint of ${length} bytes comes back byte for byte`, async (bench) => {
      for (const byte of [0x00, 0x20, 0xff]) {
        const fingerprint = new Uint8Array(length).fill(byte);
        const { id } = await bench.claim({ fingerprint });
        assert.deepEqual(plain(await bench.held({ id })).fingerprint, fingerprint);
      }
    });
  }

  test('changing the given or the answered bytes changes no record', async (bench) => {
    const fingerprint = Buffer.from('fingerprint');
    const result = Buffer.from('result');
    const claim = await bench.claim({ fingerprint });
    await bench.complete(claim, result);
    fingerprint.fill(0);
    result.fill(0);
    const answered = await bench.held({ id: claim.id });
    answered.fingerprint.fill(1);
    answered.result?.fill(1);
    const record = await bench.live(claim.id);
    assert.deepEqual(record.fingerprint, bytes('fingerprint'));
    assert.deepEqual(record.result, bytes('result'));
  });

  const exact: Record<string, string> = {
    'no character': '',
    'one blank': ' ',
    'leading and trailing blanks': '  a b  ',
    '4,000 characters': 'k'.repeat(4_000),
    '4,000 characters of four bytes': '😀'.repeat(2_000),
    'emoji and combining marks': '👩‍👩‍👧‍👦 e\u0301 é ｋ',
    'right-to-left text': 'مفتاح \u202e מפתח',
    'quotes and escapes': `'"\`\\'; DROP TABLE x; -- \\ % _ $1 ? :name`,
    'line ends and tabs': 'a\r\nb\tc',
    'a name of an object’s prototype': '__proto__',
    'digits that look like a number': '00012345678901234567890',
  };
  for (const [what, text] of Object.entries(exact)) {
    test(`display texts of ${what} come back as they were given`, async (bench) => {
      const { id } = await bench.claim({ scope: text, operation: text, key: text });
      const { scope, operation, key } = await bench.live(id);
      assert.deepEqual([scope, operation, key], [text, text, text]);
      assert.equal((await bench.held({ id })).key, text);
    });
  }

  /** No database keeps them all; what must not happen is a claim that fails because of them. */
  const harmless: Record<string, string> = {
    'a NUL character': 'a\0b',
    'a lone high surrogate': 'a\ud83d',
    'a lone low surrogate': '\ude00b',
  };
  for (const [what, text] of Object.entries(harmless)) {
    test(`display texts with ${what} do no harm`, async (bench) => {
      const claim = await bench.claim({ scope: text, operation: text, key: text });
      assert.equal(typeof (await bench.live(claim.id)).key, 'string');
      await bench.complete(claim, bytes('x'));
      assert.equal((await bench.store.list({ limit: 10 })).length, 1);
      await bench.store.list({ limit: 10, scope: text });
    });
  }
}
