import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import {
  CreateIdempotencyOutbox1764000000001,
  Outbox,
  OutboxModule,
  outboxMigrations,
} from 'nestjs-idempotency/outbox';
import type { DataSource } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import { soon } from '../support/outbox.js';

beforeAll(() => Logger.overrideLogger(false));

describe.each(availableDialects())('the table of the outbox on %s', (dialect) => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createTestDatabase(dialect);
  });
  afterEach(() => database.drop());

  /** Starts an application on it, and sends a message. */
  async function works(dataSource: DataSource, options: object = {}): Promise<string> {
    const sent: string[] = [];
    const app = await Test.createTestingModule({
      imports: [
        IdempotencyModule.forRoot({ store: memoryStore(), cleanup: false }),
        OutboxModule.forRootAsync({
          useFactory: () => ({
            sinks: { default: ({ pattern }: { pattern: string }) => void sent.push(pattern) },
            dataSource,
            ...options,
          }),
        }),
      ],
    }).compile();
    try {
      await app.init();
      await app.get(Outbox).emit('works', 1, { orderingKey: 'k' });
      await soon(() => expect(sent).toEqual(['works']));
    } finally {
      await app.close();
    }
    return sent.join();
  }

  it('is created, dropped and created again by its migration', async () => {
    const dataSource = await database.open({ migrations: outboxMigrations() });
    await dataSource.runMigrations();
    expect(await works(dataSource)).toBe('works');
    await dataSource.undoLastMigration();
    await expect(works(dataSource)).rejects.toThrow(/"idempotency_outbox".*outboxMigrations\(\)/);
    await dataSource.runMigrations();
    expect(await works(dataSource)).toBe('works');
  });

  it('may have another name', async () => {
    const options = { table: 'my_outbox' };
    const dataSource = await database.open({ migrations: outboxMigrations(options) });
    await dataSource.runMigrations();
    expect(await works(dataSource, options)).toBe('works');
  });

  it('is made on a DataSource with synchronize, which its migration takes over', async () => {
    const dataSource = await database.open({
      synchronize: true,
      migrations: [CreateIdempotencyOutbox1764000000001],
    });
    expect(await works(dataSource)).toBe('works');
    await dataSource.runMigrations();
    expect(await works(dataSource)).toBe('works');
  });

  it('is asked for when a column is missing', async () => {
    const dataSource = await database.open({ migrations: outboxMigrations() });
    await dataSource.runMigrations();
    await dataSource.query('ALTER TABLE idempotency_outbox DROP COLUMN sent_at');
    await expect(works(dataSource)).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
  });
});
