import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  IdempotencyModule,
  IdempotencyService,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
} from 'nestjs-idempotency';
import { DataSource } from 'typeorm';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import { createTestDatabase, type TestDatabase, type TestDialect } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { eventually } from '../support/http.js';
import { EntryEntity } from '../support/ledger.js';

const MODES = ['lease', 'transactional'] as const;
const DIALECTS: TestDialect[] = ['sqlite-file', 'postgres', 'mariadb'];

beforeAll(() => Logger.overrideLogger(false));

const codeOf = ({ code }: { code?: string }): string | undefined => code;

describe.each(DIALECTS)('shutting down over %s', (dialect) => {
  let database: TestDatabase;
  let observer: DataSource;
  let app: TestingModule | undefined;
  let service: IdempotencyService;

  beforeEach(async () => {
    database = await createTestDatabase(dialect);
    observer = await database.open({ synchronize: true, entities: [EntryEntity] });
  });
  afterEach(async () => {
    await app?.close();
    await database.drop();
  });

  const start = async (options: IdempotencyModuleOptions = {}): Promise<TestingModule> => {
    app = await Test.createTestingModule({
      imports: [
        TypeOrmModule.forRoot({
          ...database.options,
          synchronize: true,
          entities: [EntryEntity],
        }),
        IdempotencyModule.forRoot({ cleanup: false, ...options }),
      ],
    }).compile();
    await app.init();
    service = app.get(IdempotencyService);
    return app;
  };
  const names = async (): Promise<string[]> =>
    (await observer.getRepository(EntryEntity).find()).map(({ name }) => name);

  it.each(MODES)('lets a running %s operation end, and begins no other', async (mode) => {
    const store = new TypeOrmStore(observer);
    await store.init();
    const running = await start({ lease: '300ms', storeTimeout: '300ms' });
    const dataSource = running.get(DataSource);
    const gate = new TestGate();
    const answer = service.execute({ key: 'k', mode }, async () => {
      await dataSource.getRepository(EntryEntity).insert({ name: 'before' });
      await gate.pass();
      await dataSource.getRepository(EntryEntity).insert({ name: 'after' });
      return 'done';
    });
    await gate.reached;
    const begunAt = await store.ping();
    const closed = running.close();
    let attempts = 0;
    await eventually(async () => {
      const key = `late-${(attempts += 1)}`;
      const code = await service.execute({ key }, () => 'x').catch(codeOf);
      return code === 'IDEMPOTENCY_SHUTTING_DOWN';
    }, 'nothing new is begun');
    const isOver = async (): Promise<boolean> => (await store.ping()) > begunAt + 600;
    await eventually(isOver, 'its lease would be over, had it not been renewed');
    gate.open();
    expect(await answer).toBe('done');
    await closed;
    app = undefined;
    expect((await names()).sort()).toEqual(['after', 'before']);
    expect(
      (await store.list({ limit: 10 })).map(({ key, state }) => key === 'k' && state),
    ).toContain('completed');
  });

  it('lets go of what takes too long: it is told, and its transaction is rolled back', async () => {
    const running = await start({ shutdownTimeout: '100ms' });
    const dataSource = running.get(DataSource);
    const gate = new TestGate();
    let context: IdempotencyContext | undefined;
    const answer = service.execute({ key: 'k', mode: 'transactional' }, async (once) => {
      context = once;
      await dataSource.getRepository(EntryEntity).insert({ name: 'a' });
      await gate.pass();
      await dataSource.getRepository(EntryEntity).insert({ name: 'b' });
    });
    const failed = answer.catch(({ message }: Error) => message);
    await gate.reached;
    await running.close();
    app = undefined;
    expect(context?.signal.aborted).toBe(true);
    gate.open();
    expect(await failed).toContain('The application is shutting down. It was rolled back');
    expect(await names()).toEqual([]);
  });
});
