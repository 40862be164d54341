import 'reflect-metadata';
import {
  Body,
  Catch,
  ConflictException,
  Controller,
  Logger,
  Post,
  UseFilters,
  type ArgumentsHost,
  type ExceptionFilter,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { Idempotent, IdempotencyModule } from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import { QueryFailedError, type DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.js';
import { platforms, send, startApp, type TestApp } from '../support/http.js';
import { EntryEntity } from '../support/ledger.js';

beforeAll(() => Logger.overrideLogger(false));

const dialects: TestDialect[] = ['sqlite', 'postgres', 'mariadb'];
const CONFLICT: Partial<Record<TestDialect, object>> = {
  postgres: { code: '40P01' },
  mariadb: { errno: 1213 },
  sqlite: { code: 'SQLITE_BUSY' },
};

interface Entry {
  name: string;
}

describe.each(
  platforms.flatMap((platform) => dialects.map((dialect) => [platform, dialect] as const)),
)('a strict transactional route on %s over %s', (platform, dialect) => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let app: TestApp;
  let key = '';
  let keys = 0;
  let runs = 0;

  const insert = (name: string) => dataSource.getRepository(EntryEntity).insert({ name });

  /** Writes down what went wrong, and answers. */
  @Catch(ConflictException)
  class Audit implements ExceptionFilter {
    constructor(private readonly http: HttpAdapterHost) {}
    async catch(error: ConflictException, host: ArgumentsHost): Promise<void> {
      await insert(`audit-${key}`);
      const response: unknown = host.switchToHttp().getResponse();
      this.http.httpAdapter.reply(response, { message: error.message }, 409);
    }
  }

  @Controller()
  @Idempotent({ mode: 'transactional', strict: true })
  class Entries {
    @Post('unfinished')
    unfinished(@Body() { name }: Entry) {
      for (let index = 0; index < 200; index += 1) {
        insert(`${name}-${index}`).catch(() => undefined);
      }
      return { name };
    }

    @Post('committed')
    async committed(@Body() { name }: Entry) {
      await insert(name);
      await dataSource.query('COMMIT');
      await insert(`${name}-more`);
      return { name };
    }

    @Post('swallowed')
    async swallowed(@Body() { name }: Entry) {
      await insert(name);
      await dataSource.query('ROLLBACK').catch(() => undefined);
      await insert(`${name}-more`).catch(() => undefined);
      return { name };
    }

    @Post('conflicting')
    async conflicting(@Body() { name }: Entry) {
      runs += 1;
      await insert(name);
      throw new QueryFailedError('', [], Object.assign(new Error('deadlock'), CONFLICT[dialect]));
    }

    @Post('refused')
    @UseFilters(Audit)
    async refused(@Body() { name }: Entry) {
      await insert(name);
      throw new ConflictException('sold out');
    }
  }

  beforeAll(async () => {
    database = await createTestDatabase(dialect);
    dataSource = await database.open({
      synchronize: true,
      entities: [EntryEntity],
      ...(dialect === 'postgres' && { extra: { max: 1 } }),
      ...(dialect === 'mariadb' && { extra: { connectionLimit: 1 } }),
    });
    app = await startApp(platform, {
      imports: [IdempotencyModule.forRoot({ store: typeOrmStore({ dataSource }) })],
      controllers: [Entries],
    });
  });
  afterAll(async () => {
    await app.close();
    await database.drop();
  });
  beforeEach(async () => {
    key = `${platform}-${dialect}-${(keys += 1)}`;
    runs = 0;
    await dataSource.getRepository(EntryEntity).clear();
  });

  const post = (path: string) => send(app, { path, key, body: { name: key } });
  const names = async () =>
    (await dataSource.getRepository(EntryEntity).find()).map(({ name }) => name);
  const broken = { status: 500, code: 'IDEMPOTENCY_TRANSACTION_BROKEN', retryable: false };

  it.each(['unfinished', 'swallowed'])(
    'answers with its code, and keeps nothing: %s',
    async (path) => {
      const answer = await post(`/${path}`);
      expect(answer.json()).toMatchObject(broken);
      expect(answer.status).toBe(500);
      expect(await names()).toEqual([]);
    },
  );

  it('answers with its code when the handler lets the refusal through', async () => {
    expect((await post('/committed')).json()).toMatchObject(broken);
    expect(await names()).toEqual([key]);
    expect((await post('/committed')).json()).toMatchObject({
      status: 409,
      code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN',
    });
  });

  it('says that a retry may succeed when others were in the way each time', async () => {
    const answer = await post('/conflicting');
    expect(answer.json()).toMatchObject({
      code: 'IDEMPOTENCY_TRANSACTION_CONFLICT',
      retryable: true,
    });
    expect(answer.header('retry-after')).toBe('1');
    expect(runs).toBe(4);
    expect(await names()).toEqual([]);
  });

  it('has rolled back, and given its connection back, before an exception filter is asked', async () => {
    const answer = await post('/refused');
    expect([answer.status, answer.json()]).toEqual([409, { message: 'sold out' }]);
    expect(await names()).toEqual([`audit-${key}`]);
  });
});
