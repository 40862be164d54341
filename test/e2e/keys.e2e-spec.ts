import 'reflect-metadata';
import { Controller, Post } from '@nestjs/common';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  memoryStore,
  type IdempotencyContext,
} from 'nestjs-idempotency';
import { platforms, send, startApp, type RawResponse, type TestApp } from '../support/http.js';

let runs = 0;

function answer(once: IdempotencyContext | undefined): { run: number; key: string | null } {
  runs += 1;
  return { run: runs, key: once?.key ?? null };
}

@Controller('keys')
class KeysController {
  @Post()
  @Idempotent()
  place(@CurrentIdempotency() once: IdempotencyContext) {
    return answer(once);
  }

  @Post('optional')
  @Idempotent({ required: false })
  optional(@CurrentIdempotency() once: IdempotencyContext | undefined) {
    return answer(once);
  }

  @Post('strict')
  @Idempotent({ strictKey: true })
  strict(@CurrentIdempotency() once: IdempotencyContext) {
    return answer(once);
  }

  @Post('uuid')
  @Idempotent({ keyPattern: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/ })
  uuid(@CurrentIdempotency() once: IdempotencyContext) {
    return answer(once);
  }

  @Post('short')
  @Idempotent({ maxKeyLength: 10 })
  short(@CurrentIdempotency() once: IdempotencyContext) {
    return answer(once);
  }

  @Post('other-header')
  @Idempotent({ header: 'X-Request-Token' })
  otherHeader(@CurrentIdempotency() once: IdempotencyContext) {
    return answer(once);
  }
}

@Controller('separators')
class SeparatorsController {
  @Post(':name')
  @Idempotent()
  place(@CurrentIdempotency() once: IdempotencyContext) {
    return answer(once);
  }
}

const MISSING = 'IDEMPOTENCY_KEY_MISSING';
const INVALID = 'IDEMPOTENCY_KEY_INVALID';

describe.each(platforms)('keys on %s', (platform) => {
  let app: TestApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
      controllers: [KeysController, SeparatorsController],
    });
  });
  afterAll(() => app.close());
  beforeEach(() => {
    runs = 0;
  });

  const post = (path: string, lines: string[], name = 'Idempotency-Key'): Promise<RawResponse> =>
    send(app, { path, headers: lines.map((line) => [name, line] as const) });

  const expectRefusal = (response: RawResponse, code: string): void => {
    expect(response.json()).toMatchObject({ status: 400, code });
    expect(response.status).toBe(400);
    expect(response.header('content-type')).toBe('application/problem+json');
    expect(runs).toBe(0);
  };

  describe('one header line, one key', () => {
    it.each([
      ['bare', 'abc-1', 'abc-1'],
      ['quoted', '"abc-2"', 'abc-2'],
      ['white space around', '  \tabc-3\t ', 'abc-3'],
      ['white space around quotes', '  "abc-4"  ', 'abc-4'],
      ['escaped quote', '"a\\"b"', 'a"b'],
      ['escaped backslash', '"a\\\\b"', 'a\\b'],
      ['bare backslash', 'a\\b\\', 'a\\b\\'],
      ['parameters', '"abc-5";v=1;w="x,\\"y";z', 'abc-5'],
      ['blank before parameters', '"abc-6" ; v=1', 'abc-6'],
      ['a semicolon in a bare key', 'abc;v=1', 'abc;v=1'],
      ['quoted comma', '"abc,def"', 'abc,def'],
      ['inner blanks', 'a  b', 'a  b'],
      ['blanks inside the quotes', '" a "', ' a '],
      ['one character', 'x', 'x'],
      ['printable ASCII', '"!#$%&\'()*+-./:;<=>?@[]^_`{|}~"', "!#$%&'()*+-./:;<=>?@[]^_`{|}~"],
      ['255 characters', 'k'.repeat(255), 'k'.repeat(255)],
      ['255 characters between quotes', `"${'q'.repeat(255)}"`, 'q'.repeat(255)],
      ['255 characters after unescaping', `"${'\\"'.repeat(255)}"`, '"'.repeat(255)],
      ['__proto__', '__proto__', '__proto__'],
      ['null', 'null', 'null'],
    ])('%s', async (_name, line, key) => {
      const first = await post('/keys', [line]);
      expect(first.status).toBe(201);
      expect(first.json()).toEqual({ run: 1, key });
      const again = await post('/keys', [line]);
      expect(again.text).toBe(first.text);
      expect(again.header('idempotent-replayed')).toBe('true');
    });
  });

  it('takes the quoted and the bare form for the same key', async () => {
    const bare = await post('/keys', ['the-same']);
    const quoted = await post('/keys', ['"the-same"; v=2']);
    expect(quoted.text).toBe(bare.text);
    expect(quoted.header('idempotent-replayed')).toBe('true');
    expect(runs).toBe(1);
  });

  describe('no key', () => {
    it('is refused', async () => {
      expectRefusal(await post('/keys', []), MISSING);
    });

    it('runs unprotected and unmarked where it is optional', async () => {
      const [first, second] = [await post('/keys/optional', []), await post('/keys/optional', [])];
      expect(first.json()).toEqual({ run: 1, key: null });
      expect(second.json()).toEqual({ run: 2, key: null });
      for (const { rawHeaders } of [first, second]) {
        const names = rawHeaders.map(([name]) => name.toLowerCase());
        expect(names.filter((name) => name.startsWith('idempoten'))).toEqual([]);
      }
    });

    it('and a key on the optional route is protected', async () => {
      await post('/keys/optional', ['optional-1']);
      await post('/keys/optional', ['optional-1']);
      expect(runs).toBe(1);
    });
  });

  describe('what is no key', () => {
    it.each([
      ['empty', ['']],
      ['white space only', ['  \t ']],
      ['empty between quotes', ['""']],
      ['blank between quotes', ['"   "']],
      ['256 characters', ['k'.repeat(256)]],
      ['256 characters between quotes', [`"${'q'.repeat(256)}"`]],
      ['15 KB', ['k'.repeat(15_000)]],
      ['15 KB of quotes and escapes', ['"\\"'.repeat(5_000)]],
      ['no closing quote', ['"abc']],
      ['only an opening quote', ['"']],
      ['an escaped closing quote', ['"abc\\"']],
      ['an unknown escape', ['"a\\nb"']],
      ['a backslash at the end', ['"abc\\']],
      ['text after the closing quote', ['"abc"def']],
      ['text after a blank', ['"abc" def']],
      ['a quote inside a bare key', ['abc"def']],
      ['an open quote in a parameter', ['"abc";v="x']],
      ['an unquoted comma', ['abc,def']],
      ['a comma only', [',']],
      ['a list of quoted strings', ['"abc", "def"']],
      ['two equal lines', ['abc', 'abc']],
      ['two different lines', ['abc', 'def']],
      ['a line and an empty one', ['abc', '']],
      ['a tab inside', ['a\tb']],
      ['latin1', ['caf\xe9']],
      ['UTF-8', [Buffer.from('schlüssel').toString('latin1')]],
      ['latin1 between quotes', ['"caf\xe9"']],
      ['a non-breaking space', ['\xa0']],
    ])('%s', async (_name, lines) => {
      expectRefusal(await post('/keys', lines), INVALID);
      expectRefusal(await post('/keys/optional', lines), INVALID);
    });

    it('two lines that differ in the case of their name', async () => {
      const response = await send(app, {
        path: '/keys',
        headers: [
          ['idempotency-key', 'abc'],
          ['IDEMPOTENCY-KEY', 'abc'],
        ],
      });
      expectRefusal(response, INVALID);
    });

    it.each([
      ['NUL', 'a\0b', 400],
      ['a control character', 'a\x01b', 400],
      ['DEL', 'a\x7fb', 400],
      ['a folded line', 'abc\r\n def', 400],
      ['17 KB', 'k'.repeat(17_000), 431],
    ])('%s does not get past Node, and runs nothing', async (_name, line, status) => {
      expect((await post('/keys', [line])).status).toBe(status);
      expect(runs).toBe(0);
    });

    it('and the refusal does not repeat it', async () => {
      const response = await post('/keys', ['"canary-4711" canary']);
      expect(response.text).not.toContain('canary');
    });
  });

  describe('strict mode', () => {
    it.each(['abc', '123', '1.5', ':YWJj:', '?1', '("abc")', '@1659578233', 'tok*en'])(
      'refuses %s',
      async (line) => expectRefusal(await post('/keys/strict', [line]), INVALID),
    );

    it.each([
      ['"abc"', 'abc'],
      ['"with, comma";p', 'with, comma'],
    ])('takes %s', async (line, key) => {
      expect((await post('/keys/strict', [line])).json()).toEqual({ run: 1, key });
    });
  });

  it('keyPattern narrows what is a key', async () => {
    expectRefusal(await post('/keys/uuid', ['abc']), INVALID);
    const uuid = '8e03978e-40d5-43dd-bc93-6894a57f9324';
    expect((await post('/keys/uuid', [`"${uuid}"`])).json()).toEqual({ run: 1, key: uuid });
  });

  it('maxKeyLength moves the limit', async () => {
    expectRefusal(await post('/keys/short', ['k'.repeat(11)]), INVALID);
    expect((await post('/keys/short', ['k'.repeat(10)])).status).toBe(201);
  });

  it('reads another header where the route says so, and then only that one', async () => {
    const missing = await post('/keys/other-header', ['abc']);
    expectRefusal(missing, MISSING);
    expect(missing.json<{ detail: string }>().detail).toContain('X-Request-Token');
    const response = await post('/keys/other-header', ['token-1'], 'x-request-token');
    expect(response.json()).toEqual({ run: 1, key: 'token-1' });
  });

  it('keeps keys apart that only look alike', async () => {
    const lines = [
      'Key',
      'key',
      'KEY',
      'k ey',
      'k  ey',
      '"key "',
      '" key"',
      'key;',
      'k-ey',
      'k_ey',
      'key0',
      'key00',
      '"\\"key\\""',
      'toString',
      'constructor',
    ];
    const answers = await Promise.all(lines.map((line) => post('/keys', [line])));
    expect(answers.map(({ status }) => status)).toEqual(lines.map(() => 201));
    expect(runs).toBe(lines.length);
  });

  it('lets no key reach another record by holding separators', async () => {
    const pairs: [string, string][] = [
      ['a', 'b:c'],
      ['a:b', 'c'],
      ['a', '/separators/a:c'],
      ['a', 'http:c'],
      ['a', '"1:b"'],
      ['a', '"4:http1:c"'],
      ['a', ':c'],
    ];
    const answers = await Promise.all(
      pairs.map(([name, key]) => post(`/separators/${name}`, [key])),
    );
    expect(answers.map(({ status }) => status)).toEqual(pairs.map(() => 201));
    expect(runs).toBe(pairs.length);
  });
});
