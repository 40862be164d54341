import 'reflect-metadata';
import {
  Body,
  ConflictException,
  Controller,
  HttpCode,
  Logger,
  Post,
  Res,
  type NestInterceptor,
} from '@nestjs/common';
import { finalize } from 'rxjs';
import { Idempotent, IdempotencyError, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import { DataSource, QueryFailedError } from 'typeorm';
import { clearFailpoints, setFailpoint } from '../../src/engine/failpoints.js';
import { createTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { eventually, platforms, send, startApp, type TestApp } from '../support/http.js';
import { EntryEntity } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

interface Entry {
  name: string;
}

const dialects: TestDialect[] = ['sqlite', 'postgres', 'mariadb'];

describe.each(
  platforms.flatMap((platform) => dialects.map((dialect) => [platform, dialect] as const)),
)('a transactional route on %s over %s', (platform, dialect) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let app: TestApp;
  let gate: TestGate | undefined;
  let conflicts = 0;
  /** How often what watches from outside has been told the end of a request. */
  let finalized = 0;
  let key = '';
  let keys = 0;

  @Controller()
  class Entries {
    constructor() {}

    @Post('entries')
    @Idempotent({ mode: 'transactional' })
    async add(@Body() { name }: Entry) {
      const entries = dataSource.getRepository(EntryEntity);
      await entries.insert({ name });
      await gate?.pass();
      if (name.startsWith('sold-out')) {
        throw new ConflictException('sold out');
      }
      return { name, count: await entries.count() };
    }

    @Post('kept-errors')
    @Idempotent({ mode: 'transactional', errors: () => 'store' })
    async fail(@Body() { name }: Entry) {
      await dataSource.getRepository(EntryEntity).insert({ name });
      throw new ConflictException('sold out');
    }

    @Post('passed-on')
    @Idempotent()
    pass() {
      throw new IdempotencyError('IDEMPOTENCY_IN_PROGRESS', 'Not now.', { retryAfterSeconds: 3 });
    }

    @Post('swallowed')
    @HttpCode(200)
    @Idempotent({ mode: 'transactional' })
    async swallow(@Body() { name }: Entry) {
      const entries = dataSource.getRepository(EntryEntity);
      await entries.insert({ name });
      await entries.insert({ name }).catch(() => undefined);
      return 'fine';
    }

    @Post('conflicting')
    @Idempotent({ mode: 'transactional' })
    async conflict(
      @Body() { name }: Entry,
      @Res({ passthrough: true })
      response: { setHeader?: unknown; header(name: string, value: string): unknown },
    ) {
      await dataSource.getRepository(EntryEntity).insert({ name });
      if ((conflicts += 1) === 1) {
        response.header('X-First', 'yes');
        throw new QueryFailedError('', [], Object.assign(new Error('deadlock'), CONFLICT[dialect]));
      }
      return { runs: conflicts };
    }
  }

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    dataSource = await database.open({ synchronize: true, entities: [EntryEntity] });
    const watching: NestInterceptor = {
      intercept: (_, next) => next.handle().pipe(finalize(() => (finalized += 1))),
    };
    app = await startApp(
      platform,
      {
        imports: [IdempotencyModule.forRoot({ store: typeOrmStore({ dataSource }) })],
        controllers: [Entries],
      },
      { configure: (it) => void it.useGlobalInterceptors(watching) },
    );
  });
  afterAll(async () => {
    await app.close();
    await database.drop();
  });
  beforeEach(async () => {
    key = `${platform}-${dialect}-${(keys += 1)}`;
    gate = undefined;
    await dataSource.getRepository(EntryEntity).clear();
  });

  const post = (path: string, name: string) => send(app, { path, key, body: { name } });
  const names = async () =>
    (await dataSource.getRepository(EntryEntity).find()).map(({ name }) => name);

  it('answers once and replays', async () => {
    const first = await post('/entries', 'a');
    const second = await post('/entries', 'a');
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.body).toEqual(first.body);
    expect(await names()).toEqual(['a']);
  });

  it('leaves nothing of a failure, and runs the retry', async () => {
    expect((await post('/entries', 'sold-out')).status).toBe(409);
    expect(await names()).toEqual([]);
    expect((await post('/entries', 'a')).status).toBe(201);
    expect(await names()).toEqual(['a']);
  });

  it('keeps a failure that is to be kept, without its effects', async () => {
    const first = await post('/kept-errors', 'a');
    const second = await post('/kept-errors', 'a');
    expect([first.status, second.status]).toEqual([409, 409]);
    expect(second.body).toEqual(first.body);
    expect(second.header('idempotent-replayed')).toBe('true');
    expect(await names()).toEqual([]);
  });

  it('answers a duplicate while the first one runs', async () => {
    gate = new TestGate();
    const first = post('/entries', 'a');
    await gate.reached;
    const second = await post('/entries', 'a');
    const other = await post('/entries', 'b');
    gate.open();
    expect(second.status).toBe(409);
    expect(second.body.toString()).toContain('IDEMPOTENCY_IN_PROGRESS');
    expect(other.status).toBe(422);
    expect((await first).status).toBe(201);
    expect(await names()).toEqual(['a']);
  });

  it('does not say that all is well when an error of the database was swallowed', async () => {
    const { status, body } = await post('/swallowed', 'a');
    if (dialect === 'postgres') {
      expect(status).toBe(500);
      expect(body.toString()).toContain('IDEMPOTENCY_TRANSACTION_BROKEN');
      expect(await names()).toEqual([]);
    } else {
      expect(status).toBe(200); // there a failed statement undoes itself alone
      expect(await names()).toEqual(['a']);
    }
  });

  it('answers what the handler passes on of ours like everything else of ours', async () => {
    const answer = await post('/passed-on', 'a');
    expect(answer.status).toBe(409);
    expect(answer.header('content-type')).toContain('application/problem+json');
    expect(answer.header('retry-after')).toBe('3');
    expect(answer.json()).toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS', detail: 'Not now.' });
  });

  it('tells what watches from outside of the end when a second run cannot begin', async () => {
    conflicts = 0;
    finalized = 0;
    let begins = 0;
    setFailpoint('begin:before', async () => {
      if ((begins += 1) === 2) {
        throw new Error('away');
      }
    });
    const { status } = await post('/conflicting', 'a').finally(clearFailpoints);
    expect(status).toBe(503);
    await eventually(() => finalized === 1, 'the end is told');
  });

  it('runs again after a conflict, as if it had never begun', async () => {
    conflicts = 0;
    const { status, body, ...answer } = await post('/conflicting', 'a');
    expect([status, body.toString()]).toEqual([201, '{"runs":2}']);
    expect(answer.header('x-first')).toBeUndefined();
    expect(await names()).toEqual(['a']);
  });
});

const CONFLICT: Partial<Record<TestDialect, object>> = {
  postgres: { code: '40P01' },
  mariadb: { errno: 1213 },
  sqlite: { code: 'SQLITE_BUSY' },
};

it('is refused at startup for a method, too', async () => {
  class Payouts {
    @Idempotent({ key: () => 'k', mode: 'transactional' })
    async run(): Promise<void> {}
  }
  const starting = startApp('express', {
    imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
    providers: [Payouts],
  });
  await expect(starting).rejects.toThrow(
    "@Idempotent({ key }) on Payouts.run: option 'mode' is 'transactional', but the memory store has no",
  );
});

it('is refused at startup on a store without transactions', async () => {
  @Controller()
  class Entries {
    @Post()
    @Idempotent({ mode: 'transactional' })
    add(): void {}
  }
  const starting = startApp('express', {
    imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
    controllers: [Entries],
  });
  await expect(starting).rejects.toThrow(
    "@Idempotent() on Entries.add: option 'mode' is 'transactional', but the memory store has no transactions",
  );
});
