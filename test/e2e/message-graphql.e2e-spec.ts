import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { send } from '../support/http.js';
import { startProgram } from '../support/program.js';

interface Answer {
  readonly data: Readonly<Record<string, unknown>>;
  readonly errors?: readonly {
    readonly message: string;
    readonly extensions?: Readonly<Record<string, unknown>>;
  }[];
}

describe('Mutations of GraphQL', () => {
  let server: ChildProcess;
  let port: number;
  let tests = 0;
  let key: string;

  beforeAll(async () => {
    server = startProgram('messages/graphql-server', { platform: 'fastify' });
    const [message] = (await once(server, 'message')) as [{ port: number }];
    ({ port } = message);
  });
  afterAll(async () => {
    server.kill('SIGKILL');
    await once(server, 'exit');
  });
  beforeEach(() => {
    key = `k${(tests += 1)}`;
  });

  async function graphql(query: string, sent: { key?: string; user?: string } = {}) {
    const answer = await send(
      { port },
      {
        path: '/graphql',
        key: sent.key,
        headers: sent.user === undefined ? [] : [['x-user', sent.user]],
        body: { query },
      },
    );
    return answer.json<Answer>();
  }

  const mutate = (mutation: string, sent?: { key?: string; user?: string }) =>
    graphql(`mutation { ${mutation} }`, sent);

  const runs = async () => Number((await graphql('{ runs }')).data.runs);

  const place = (sku: string, own?: string) =>
    `place(input: { sku: "${sku}"${own === undefined ? '' : `, key: "${own}"`} }) { sku run }`;

  it('are refused with a scope that is no text, the same for everybody', async () => {
    const before = await runs();
    const { errors } = await mutate('mixed { run }', { key, user: 'ann' });
    expect(errors).toMatchObject([{ extensions: { code: 'IDEMPOTENCY_MISCONFIGURED' } }]);
    expect(await runs()).toBe(before);
  });

  it('are replayed by the header', async () => {
    const before = await runs();
    const first = await mutate(place('tea'), { key });
    expect(first).toEqual({ data: { place: { sku: 'tea', run: before + 1 } } });
    await expect(mutate(place('tea'), { key })).resolves.toEqual(first);
    await expect(mutate(place('tea'), { key: `${key}-2` })).resolves.toEqual({
      data: { place: { sku: 'tea', run: before + 2 } },
    });
  });

  it('are replayed by an argument', async () => {
    const first = await mutate(place('tea', key));
    expect(first).toMatchObject({ data: { place: { sku: 'tea' } } });
    await expect(mutate(place('tea', key))).resolves.toEqual(first);
  });

  it('are two when they stand twice in one document, under two names', async () => {
    const before = await runs();
    const both = `one: ${place('tea')} two: ${place('tea')}`;
    const first = await mutate(both, { key });
    expect(first).toMatchObject({
      data: { one: { run: before + 1 }, two: { run: before + 2 } },
    });
    await expect(mutate(both, { key })).resolves.toEqual(first);
    await expect(runs()).resolves.toBe(before + 2);
  });

  it.each([
    ['under two names', 'stock { one: order(sku: "tea") { run } two: order(sku: "tea") { run } }'],
    [
      'in two fields',
      'one: stock { order(sku: "tea") { run } } two: stock { order(sku: "tea") { run } }',
    ],
    ['in two entries of a list', 'stocks { order(sku: "tea") { run } }'],
  ])('are two when they stand twice below the top of a document, %s', async (_, both) => {
    const before = await runs();
    const first = await mutate(both, { key });
    expect(first.errors).toBeUndefined();
    await expect(runs()).resolves.toBe(before + 2);
    await expect(mutate(both, { key })).resolves.toEqual(first);
    await expect(runs()).resolves.toBe(before + 2);
  });

  it('are refused with other arguments and the same key', async () => {
    const before = await runs();
    await mutate(place('tea'), { key });
    const { errors } = await mutate(place('coffee'), { key });
    expect(errors).toMatchObject([{ extensions: { code: 'IDEMPOTENCY_KEY_REUSED' } }]);
    await expect(runs()).resolves.toBe(before + 1);
  });

  it('are told to come again while the first one is in flight', async () => {
    const held = `held(sku: "${key}") { run }`;
    const first = mutate(held, { key });
    await graphql(`{ reached(sku: "${key}") }`);
    const { errors } = await mutate(held, { key });
    expect(errors).toMatchObject([
      { extensions: { code: 'IDEMPOTENCY_IN_PROGRESS', retryAfter: 1 } },
    ]);
    await graphql(`{ open(sku: "${key}") }`);
    const done = await first;
    expect(done.errors).toBeUndefined();
    await expect(mutate(held, { key })).resolves.toEqual(done);
  });

  it('of different users do not share a key', async () => {
    const of = (user: string) => mutate(place('tea'), { key, user });
    const [ann, bob, annAgain] = [await of('ann'), await of('bob'), await of('ann')];
    expect(bob).not.toEqual(ann);
    expect(annAgain).toEqual(ann);
  });

  it('replay an error that was stored', async () => {
    const refuse = async () => (await mutate('refuse { run }', { key })).errors?.[0]?.message;
    const first = await refuse();
    expect(first).toMatch(/^refused \d+$/);
    await expect(refuse()).resolves.toBe(first);
  });

  it('are refused without a key', async () => {
    const before = await runs();
    const { errors } = await mutate(place('tea'));
    expect(errors).toMatchObject([{ extensions: { code: 'IDEMPOTENCY_KEY_MISSING' } }]);
    await expect(runs()).resolves.toBe(before);
  });
});
