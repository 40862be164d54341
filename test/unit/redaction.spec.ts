import { redacted } from '../../src/http/redaction.js';

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' };

function kept(value: unknown, ...paths: string[]): unknown {
  const body = Buffer.from(JSON.stringify(value));
  const fields = paths.map((path) => path.split('.'));
  const response = redacted({ status: 201, headers: JSON_TYPE, body }, fields);
  return response && JSON.parse(response.body.toString());
}

describe('redacted fields', () => {
  it.each<[string, unknown, string[], unknown]>([
    ['a member', { a: 1, b: 2 }, ['b'], { a: 1, b: '[redacted]' }],
    [
      'a member below',
      { card: { number: 1, brand: 'x' } },
      ['card.number'],
      { card: { number: '[redacted]', brand: 'x' } },
    ],
    ['a whole object', { card: { number: 1 } }, ['card'], { card: '[redacted]' }],
    [
      'in each element',
      { items: [{ t: 1 }, { t: 2, n: 3 }] },
      ['items.*.t'],
      { items: [{ t: '[redacted]' }, { t: '[redacted]', n: 3 }] },
    ],
    ['in a list at the top', [{ t: 1 }], ['*.t'], [{ t: '[redacted]' }]],
    ['one element', { list: [1, 2] }, ['list.1'], { list: [1, '[redacted]'] }],
    ['each member', { a: { x: 1, y: 2 } }, ['a.*'], { a: { x: '[redacted]', y: '[redacted]' } }],
    ['null', { a: null }, ['a'], { a: '[redacted]' }],
    ['several', { a: 1, b: 2, c: 3 }, ['a', 'c'], { a: '[redacted]', b: 2, c: '[redacted]' }],
    ['what is not there', { a: 1 }, ['b', 'a.b', 'b.c.d'], { a: 1 }],
    [
      'what every object inherits',
      { a: 1 },
      ['toString', '__proto__', 'constructor.name'],
      { a: 1 },
    ],
    ['a text', 'text', ['length', '0'], 'text'],
    ['null at the top', null, ['a'], null],
  ])('%s', (_, value, paths, expected) => {
    expect(kept(value, ...paths)).toEqual(expected);
  });

  it.each(['application/problem+json', 'application/json', 'APPLICATION/JSON;charset=utf-8'])(
    'in %s',
    (type) => {
      const body = Buffer.from('{"a":1}');
      const response = redacted({ status: 400, headers: { 'content-type': type }, body }, [['a']]);
      expect(response?.body.toString()).toBe('{"a":"[redacted]"}');
    },
  );

  it.each([
    ['text', 'text/plain', 'a=1'],
    ['what only begins like JSON', 'application/jsonp', '{"a":1}'],
    ['broken JSON', 'application/json', '{"a":1'],
  ])('in %s are found by nobody, so that it is not kept', (_, type, text) => {
    const headers = { 'content-type': type };
    expect(redacted({ status: 201, headers, body: Buffer.from(text) }, [['a']])).toBeUndefined();
  });

  it('in a body without a type are found by nobody either', () => {
    expect(
      redacted({ status: 201, headers: {}, body: Buffer.from('{"a":1}') }, [['a']]),
    ).toBeUndefined();
  });

  it('leave an empty body, and everything where none are asked for, as they are', () => {
    const empty = { status: 204, headers: {}, body: Buffer.alloc(0) };
    expect(redacted(empty, [['a']])).toBe(empty);
    const text = {
      status: 200,
      headers: { 'content-type': 'text/plain' },
      body: Buffer.from('{ "a":1 }'),
    };
    expect(redacted(text, [])).toBe(text);
  });

  it('take the ETag along, which was that of another body', () => {
    const headers = { ...JSON_TYPE, etag: '"1"', location: '/1' };
    const response = redacted({ status: 201, headers, body: Buffer.from('{}') }, [['a']]);
    expect(response?.headers).toEqual({ ...JSON_TYPE, location: '/1' });
  });
});
