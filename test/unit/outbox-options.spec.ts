import { bullMqSink, clientProxySink } from 'nestjs-idempotency/outbox';
import type { OutgoingOptions } from '../../src/engine/outgoing.js';
import { newMessage } from '../../src/outbox/new-message.js';
import { outboxSettings } from '../../src/outbox/outbox.settings.js';
import { createStatements, outboxNames } from '../../src/outbox/schema.js';
import { jobId } from '../../src/outbox/sinks/bull-mq.sink.js';

const sink = (): void => undefined;
const message = (pattern: unknown, payload: unknown, options: unknown = {}, sinks = ['default']) =>
  newMessage(pattern, payload, options as OutgoingOptions, sinks);
const refused = (run: () => unknown, sentence: RegExp) => {
  expect(run).toThrow(sentence);
  expect(run).toThrow(expect.objectContaining({ code: 'IDEMPOTENCY_MISCONFIGURED' }));
};

describe('a message that cannot be kept is refused:', () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  it.each([
    ['no pattern', [undefined, 1], /pattern is undefined/],
    ['an empty pattern', ['', 1], /1 to 255/],
    ['half a character', ['\uD800', 1], /1 to 255/],
    ['no payload', ['p', undefined], /as JSON/],
    ['a circle', ['p', circle], /as JSON/],
    ['a BigInt', ['p', 1n], /as JSON/],
    ['options that are none', ['p', 1, 'x'], /options are 'x'/],
    ['an unknown option', ['p', 1, { too: 'x' }], /no option 'too'/],
    ['no delay', ['p', 1, { delay: 'soon' }], /option 'delay' is 'soon'/],
    ['an ordering key that is too long', ['p', 1, { orderingKey: 'x'.repeat(256) }], /1 to 255/],
    ['a header that is no text', ['p', 1, { headers: { a: 1 } }], /values are strings/],
    ['an id with a blank', ['p', 1, { id: 'a b' }], /printable ASCII/],
    ['an unknown sink', ['p', 1, { to: 'x' }], /Write one of 'default'/],
    ['several sinks and none chosen', ['p', 1, {}, ['a', 'b']], /one of 'a', 'b'/],
    ['a manager without a transaction', ['p', 1, { manager: { query: sink } }], /no transaction/],
  ] as [string, Parameters<typeof message>, RegExp][])('%s', (_, given, sentence) => {
    refused(() => message(...given), sentence);
  });

  it('never quotes the payload', () => {
    expect(() => message('p', { card: 1n, secret: 'hunter2' })).not.toThrow(/hunter2/);
  });
});

it('takes the only sink, or the default one', () => {
  expect(message('p', 1, {}, ['only']).sink).toBe('only');
  expect(message('p', 1, {}, ['a', 'default']).sink).toBe('default');
  expect(message('p', 1, { to: 'a' }, ['a', 'default']).sink).toBe('a');
});

describe('options of the module that cannot work are refused:', () => {
  it.each([
    ['nothing', undefined, /OutboxModule.forRoot\(\{ sinks/],
    ['no sinks', {}, /option 'sinks'/],
    ['empty sinks', { sinks: {} }, /at least one/],
    ['a sink that is none', { sinks: { a: 'x' } }, /sink 'a' is 'x'/],
    ['a sink with a strange name', { sinks: { 'a b': sink } }, /named 'a b'/],
    ['an unknown option', { sinks: { a: sink }, polling: 1 }, /no option 'polling'/],
    ['no interval', { sinks: { a: sink }, pollInterval: 0 }, /'pollInterval' is 0/],
    ['attempts that are none', { sinks: { a: sink }, attempts: { max: 0 } }, /'attempts.max' is 0/],
    ['a hook that is none', { sinks: { a: sink }, hooks: { onSent: 1 } }, /'hooks.onSent' is 1/],
  ])('%s', (_, options, sentence) => {
    refused(() => outboxSettings(options as never), sentence);
  });

  it('an id field that is none', () => {
    refused(() => clientProxySink('CLIENT', { idField: '' }), /'idField' is ''/);
  });
});

describe('names of tables', () => {
  it.each([
    ['one that PostgreSQL would cut', 'postgres', { table: 'x'.repeat(58) }, /1 to 57 bytes/],
    ['a question mark', 'sqlite', { table: 'a?' }, /question mark/],
    ['a schema on SQLite', 'sqlite', { schema: 's' }, /no schemas/],
  ] as const)('are refused: %s', (_, dialect, options, sentence) => {
    refused(() => outboxNames(dialect, options), sentence);
  });

  it('are quoted', () => {
    const names = outboxNames('postgres', { table: 'my"box', schema: 'S' });
    expect(createStatements('postgres', names)[0]).toContain('"S"."my""box"');
  });
});

describe('a sink for BullMQ', () => {
  it('turns ids into ids of jobs, which are neither integers nor hold a colon', () => {
    expect(['0a', '42', 'a:b'].map(jobId)).toEqual(['0a', 'message-42', 'message-a%3Ab']);
  });

  it('needs a queue', () => {
    refused(() => bullMqSink('TOKEN').open!(() => ({})), /token of a queue/);
  });
});

describe('a sink for clients', () => {
  it('needs a field for the id where messages have no headers', async () => {
    const client = { emit: sink, send: sink };
    await expect(clientProxySink(client as never).open!(() => undefined)).rejects.toThrow(
      /idField: 'messageId'/,
    );
  });

  it('needs a client', async () => {
    await expect(clientProxySink('TOKEN').open!(() => ({}))).rejects.toThrow(/ClientProxy/);
  });
});
