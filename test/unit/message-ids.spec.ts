import type { ExecutionContext } from '@nestjs/common';
import { idText } from '../../src/messaging/id-text.js';
import type { IncomingMessage } from '../../src/messaging/incoming-message.js';
import { messageKey, type KeySettings } from '../../src/messaging/message-key.js';

describe('The text of an id', () => {
  it.each([
    ['text', 'a', 'a'],
    ['a number', 42, '42'],
    ['zero', 0, '0'],
    ['a bigint', 9_007_199_254_740_993n, '9007199254740993'],
    ['bytes of text', Buffer.from('ä'), 'ä'],
    ['bytes of text in another view', new Uint8Array([97, 98]), 'ab'],
    ['other bytes', Buffer.from([255, 254]), 'base64://4='],
    ['a list', ['a', 'b'], 'a'],
    ['a list of bytes', [Buffer.from('a')], 'a'],
    [
      'a parsed header',
      { b: 1, a: [null, { c: '', d: false }] },
      '{"b":1,"a":[null,{"c":"","d":false}]}',
    ],
    ['a date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ])('%s', (_, value, text) => {
    expect(idText(value)).toBe(text);
  });

  it.each([[undefined], [null], [''], [Buffer.alloc(0)], [[]], [['']], [true], [Symbol('a')]])(
    'there is none in %p',
    (value) => {
      expect(idText(value)).toBeUndefined();
    },
  );

  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  it.each<[string, unknown]>([
    ['NaN', NaN],
    ['an infinite number', -Infinity],
    ['a number that was rounded', 2 ** 53],
    ['a cyclic object', cyclic],
    ['an object with a bigint', { id: 1n }],
    ['an object that JSON has nothing of', { toJSON: () => undefined }],
    ['an object that JSON sees nothing of', new Map([['id', 1]])],
    ['an object with a number that JSON does not know', { id: NaN }],
    ['an object with a rounded number', { id: 2 ** 53 }],
    ['an object with a map', { id: new Map([['id', 1]]) }],
    ['an object that throws', { toJSON: () => JSON.parse('{') as unknown }],
    ['an empty object', {}],
    ['a list of one of these', [NaN]],
  ])('refuses %s, which others would share', (_, value) => {
    expect(() => idText(value)).toThrow(
      expect.objectContaining({
        code: 'IDEMPOTENCY_KEY_INVALID',
        message: expect.stringContaining('Let its sender write it as text'),
      }),
    );
  });

  it('keeps bytes apart that would become the same replacement character', () => {
    const ids = [[0xff], [0xfe], [0xc3, 0x28]].map((bytes) => idText(Buffer.from(bytes)));
    expect(new Set(ids).size).toBe(3);
  });

  it('keeps long ones apart, in bounded text', () => {
    const long = 'a'.repeat(256);
    expect(idText('a'.repeat(255))).toBe('a'.repeat(255));
    expect(idText(long)).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(idText(long)).not.toBe(idText(`${long}b`));
    expect(idText(long)).toBe(idText(Buffer.from(long)));
  });
});

describe('The key of a message', () => {
  const context = {} as ExecutionContext;
  const defaults: KeySettings = {
    name: 'Mails.placed',
    header: 'Idempotency-Key',
    required: true,
    messageId: undefined,
    kafkaPosition: false,
  };

  function keyOf(
    message: Partial<Omit<IncomingMessage, 'headers'>> & { headers?: Record<string, unknown> },
    settings: Partial<KeySettings> = {},
  ): string | undefined {
    const { headers = {}, ...rest } = message;
    const whole: IncomingMessage = {
      transport: 'other',
      isRequest: false,
      payload: {},
      ...rest,
      headers: new Map(Object.entries(headers)),
    };
    return messageKey(whole, context, { ...defaults, ...settings });
  }

  it('is the best id that there is', () => {
    const everywhere = {
      headers: {
        'idempotency-key': 'header',
        ce_id: 'event',
        ce_source: '/orders',
        messageid: 'message header',
      } as Record<string, unknown>,
      id: 'transport',
      payload: { order: { id: 'payload' } },
      position: 'orders:0:7',
    };
    const settings = { messageId: 'order.id', kafkaPosition: true };
    const found: unknown[] = [];
    const next = (remove: () => void) => {
      found.push(keyOf(everywhere, settings));
      remove();
    };
    next(() => delete everywhere.headers['idempotency-key']);
    next(() => delete everywhere.headers.ce_id);
    next(() => Object.assign(everywhere, { id: undefined }));
    next(() => delete everywhere.headers.messageid);
    next(() => Object.assign(everywhere, { payload: {} }));
    next(() => undefined);
    expect(found).toEqual([
      'header',
      '["/orders","event"]',
      'transport',
      'message header',
      'payload',
      'orders:0:7',
    ]);
  });

  it.each([
    ['Kafka', { ce_id: '1', ce_source: '/a' }, { ce_id: '1', ce_source: '/b' }],
    ['NATS', { 'ce-id': '1', 'ce-source': '/a' }, { 'ce-id': '1', 'ce-source': '/b' }],
    [
      'AMQP',
      { 'cloudevents:id': '1', 'cloudevents:source': '/a' },
      { 'cloudevents:id': '1', 'cloudevents:source': '/b' },
    ],
    [
      'AMQP for JMS',
      { cloudevents_id: '1', cloudevents_source: '/a' },
      { cloudevents_id: '1', cloudevents_source: '/b' },
    ],
  ])('tells CloudEvents of two sources apart, as headers of %s', (_, one, other) => {
    expect(keyOf({ headers: one })).toBe('["/a","1"]');
    expect(keyOf({ headers: other })).toBe('["/b","1"]');
  });

  it('tells CloudEvents of two sources apart, as payload', () => {
    const event = (source: string) => ({ specversion: '1.0', id: '1', source });
    expect(keyOf({ payload: event('/a') })).toBe('["/a","1"]');
    expect(keyOf({ payload: event('/b') })).toBe('["/b","1"]');
  });

  it('does not mix up source and id', () => {
    const of = (ce_source: string, ce_id: string) => keyOf({ headers: { ce_source, ce_id } });
    expect(of('a"', 'b')).not.toBe(of('a', '"b'));
    expect(of('a,b', 'c')).not.toBe(of('a', 'b,c'));
  });

  it('is no field of a payload that is no CloudEvent', () => {
    expect(() => keyOf({ payload: { id: '1', source: '/a' } })).toThrow('has no id');
  });

  it.each([[null], ['text'], [7], [undefined], [[{ id: 'a' }]]])(
    'is not looked for in the payload %p',
    (payload) => {
      expect(keyOf({ payload }, { messageId: 'id', required: false })).toBeUndefined();
    },
  );

  it('is not inherited by a payload', () => {
    const find = () => keyOf({ payload: {} }, { messageId: 'constructor.name', required: false });
    expect(find()).toBeUndefined();
  });

  it.each(['correlationid', 'correlation-id', 'kafka_correlationid', 'deliverytag'])(
    'is never %s, which names the delivery',
    (header) => {
      expect(keyOf({ headers: { [header]: 'c1' } }, { required: false })).toBeUndefined();
    },
  );

  it('goes on from an empty header to the next place', () => {
    expect(keyOf({ headers: { 'idempotency-key': '' }, id: 'm1' })).toBe('m1');
  });

  it('is refused where it is none, and not looked for elsewhere', () => {
    const refused = expect.objectContaining({ code: 'IDEMPOTENCY_KEY_INVALID' });
    expect(() => keyOf({ headers: { 'idempotency-key': NaN }, id: 'm1' })).toThrow(refused);
    expect(() => keyOf({ headers: { ce_id: '1', ce_source: {} } })).toThrow(refused);
    const optional = { messageId: 'id', required: false };
    expect(() => keyOf({ payload: { id: NaN } }, optional)).toThrow(refused);
  });

  it('is what a function says, and nothing else', () => {
    const asked = (answer: unknown) =>
      keyOf(
        { headers: { 'idempotency-key': 'header' }, id: 'transport' },
        { messageId: () => answer, required: false },
      );
    expect(asked(Buffer.from('own'))).toBe('own');
    expect(asked(undefined)).toBeUndefined();
  });

  it('is missed with a sentence that says what to write', () => {
    expect(() => keyOf({})).toThrow(
      expect.objectContaining({
        code: 'IDEMPOTENCY_KEY_MISSING',
        message: expect.stringContaining("@Idempotent({ messageId: 'orderId' })"),
      }),
    );
    expect(keyOf({}, { required: false })).toBeUndefined();
  });

  it('is not the position unless that was asked for', () => {
    expect(keyOf({ position: 'a:0:1' }, { required: false })).toBeUndefined();
  });
});
