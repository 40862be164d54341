import { randomBytes } from 'node:crypto';
import { Body, Controller, Post, ServiceUnavailableException } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
} from 'nestjs-idempotency';
import type { DataSource } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import { send, startApp, type TestApp } from '../support/http.js';

const SECRET = 'iban-of-the-customer';
const keys = { old: randomBytes(32).toString('base64'), new: randomBytes(32) };
const dialects = availableDialects().filter((dialect) => dialect !== 'sqlite');

let runs = 0;
let isDown = false;

@Controller()
class Accounts {
  @Post('accounts')
  @Idempotent()
  open() {
    runs += 1;
    return { number: `${SECRET}-${runs}` };
  }

  @Post('accounts/steps')
  @Idempotent({ mode: 'lease' })
  async inSteps(@Body() _body: unknown, @CurrentIdempotency() once: IdempotencyContext) {
    const number = await once.step('number', () => `${SECRET}-${(runs += 1)}`);
    if (isDown) {
      throw new ServiceUnavailableException();
    }
    return { number };
  }
}

describe.each(dialects)('encrypted records on %s', (dialect) => {
  const started: TestApp[] = [];
  let database: TestDatabase;
  let observer: DataSource;

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    observer = await database.open({});
  });
  beforeEach(() => {
    runs = 0;
    isDown = false;
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((app) => app.close()));
    await observer.query('DELETE FROM idempotency_record');
  });
  afterAll(() => database.drop());

  async function start(
    encryption: IdempotencyModuleOptions['encryption'],
    options: IdempotencyModuleOptions = {},
  ): Promise<TestApp> {
    const app = await startApp('express', {
      imports: [
        TypeOrmModule.forRoot({ ...database.options, synchronize: true }),
        IdempotencyModule.forRoot({
          cleanup: false,
          startupReport: false,
          ...(encryption && { encryption }),
          ...options,
        }),
      ],
      controllers: [Accounts],
    });
    started.push(app);
    return app;
  }

  const post = (app: TestApp, path = '/accounts') => send(app, { path, key: 'k', body: {} });
  /** Everything that is in the table. */
  async function table(): Promise<string> {
    const rows = await observer.query<Record<string, unknown>[]>(
      'SELECT * FROM idempotency_record',
    );
    return rows
      .flatMap((row) => Object.values(row))
      .map((value) =>
        value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : JSON.stringify(value),
      )
      .join('\n');
  }

  it.each(['lease', 'transactional'] as const)('replay what is in no table (%s)', async (mode) => {
    const app = await start({ keys, current: 'new' }, { mode });
    const first = await post(app);
    expect(first.text).toContain(SECRET);
    expect(await table()).not.toContain(SECRET);
    const again = await post(app);
    expect([again.text, again.header('Idempotent-Replayed'), runs]).toEqual([
      first.text,
      'true',
      1,
    ]);
  });

  it('are readable in the table without encryption', async () => {
    await post(await start(undefined));
    expect(await table()).toContain(SECRET);
  });

  it('keep steps that nobody else reads', async () => {
    const app = await start({ keys, current: 'new' });
    isDown = true;
    expect((await post(app, '/accounts/steps')).status).toBe(503);
    expect(await table()).not.toContain(SECRET);
    isDown = false;
    expect((await post(app, '/accounts/steps')).json()).toEqual({ number: `${SECRET}-1` });
  });

  it('are replayed after the key was changed, and after encryption was turned on', async () => {
    const before = await post(await start(undefined));
    const rotated = await start({ keys, current: 'new' });
    expect((await post(rotated)).text).toBe(before.text);

    await observer.query('DELETE FROM idempotency_record');
    const old = await post(await start({ keys, current: 'old' }));
    expect((await post(rotated)).text).toBe(old.text);
  });

  it.each(['lease', 'transactional'] as const)(
    'run nothing where their key is gone (%s)',
    async (mode) => {
      await post(await start({ keys, current: 'old' }, { mode }));
      const app = await start({ keys: { new: keys.new }, current: 'new' }, { mode });
      const again = await post(app);
      expect([again.status, again.json<{ code: string }>().code, runs]).toEqual([
        500,
        'IDEMPOTENCY_RECORD_UNREADABLE',
        1,
      ]);
    },
  );
});

describe('a module with encryption that cannot work', () => {
  const secret = randomBytes(16).toString('base64');

  it.each<[string, unknown, RegExp]>([
    ['no keys', {}, /'encryption' is incomplete/],
    ['no object', 'secret', /'encryption' is incomplete/],
    ['no current key', { keys }, /'encryption' is incomplete/],
    ['an unknown current key', { keys, current: 'other' }, /'encryption.current' is 'other'/],
    [
      'a short key',
      { keys: { a: secret }, current: 'a' },
      /'a' of option 'encryption.keys' has not got 32 bytes/,
    ],
    ['a missing key', { keys: { a: undefined }, current: 'a' }, /has not got 32 bytes/],
    ['an empty name', { keys: { '': keys.new }, current: '' }, /has the name ''/],
  ])('says so without the key: %s', async (_, encryption, sentence) => {
    const imports = [
      TypeOrmModule.forRoot({ type: 'better-sqlite3', database: ':memory:', synchronize: true }),
      IdempotencyModule.forRoot({ encryption } as IdempotencyModuleOptions),
    ];
    const failed: unknown = await startApp('express', { imports }).catch((error: unknown) => error);
    expect(String(failed)).toMatch(sentence);
    expect(String(failed)).not.toContain(secret);
    expect(failed).toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
  });
});
