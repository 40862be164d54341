import { Test, type TestingModule } from '@nestjs/testing';
import { IdempotencyModule, IdempotencyService, type IdempotencyHooks } from 'nestjs-idempotency';
import {
  Outbox,
  OutboxModule,
  type OutboxMessage,
  type OutboxModuleOptions,
  type OutboxSink,
} from 'nestjs-idempotency/outbox';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource, Repository } from 'typeorm';
import { createTestDatabase, type TestDatabase, type TestDialect } from './databases.js';
import { eventually } from './http.js';
import { EntryEntity, type Entry } from './ledger.js';

export type Given = Partial<OutboxModuleOptions> & { readonly idempotencyHooks?: IdempotencyHooks };

/** One application with an outbox. */
export interface OutboxApp {
  readonly dataSource: DataSource;
  readonly app: TestingModule;
  readonly service: IdempotencyService;
  readonly outbox: Outbox;
  readonly entries: Repository<Entry>;
}

/** A database, and applications on it. */
export interface OutboxStage {
  readonly database: TestDatabase;
  /** Starts an application; without sinks its messages are collected in `sent`. */
  start(given?: Given, extra?: object): Promise<OutboxApp>;
  readonly sent: OutboxMessage[];
  /** Rows of the outbox, in their order. */
  rows(): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

export async function openOutboxStage(dialect: TestDialect): Promise<OutboxStage> {
  const database = await createTestDatabase(dialect);
  const sent: OutboxMessage[] = [];
  const apps: OutboxApp[] = [];
  let inMemory: DataSource | undefined;
  const open = async (extra: object): Promise<DataSource> => {
    if (dialect !== 'sqlite') {
      return database.open({ entities: [EntryEntity], synchronize: apps.length === 0, ...extra });
    }
    // in memory there is no second connection to the same database
    inMemory ??= await database.open({ entities: [EntryEntity], synchronize: true });
    return inMemory;
  };
  const collect: OutboxSink = (message) => void sent.push(message);
  return {
    database,
    sent,
    async start({ idempotencyHooks, ...given } = {}, extra = {}) {
      const dataSource = await open(extra);
      const options = { sinks: { default: collect }, pollInterval: 50, ...given };
      const app = await Test.createTestingModule({
        imports: [
          IdempotencyModule.forRoot({
            store: typeOrmStore({ dataSource }),
            cleanup: false,
            hooks: idempotencyHooks ?? {},
          }),
          OutboxModule.forRoot(options),
        ],
      }).compile();
      await app.init();
      const started: OutboxApp = {
        dataSource,
        app,
        service: app.get(IdempotencyService),
        outbox: app.get(Outbox),
        entries: dataSource.getRepository(EntryEntity),
      };
      apps.push(started);
      return started;
    },
    rows: () => apps[0]!.dataSource.query('SELECT * FROM idempotency_outbox ORDER BY seq'),
    async close() {
      await Promise.all(apps.map(({ app }) => app.close()));
      await database.drop();
    },
  };
}

/** Waits until what relays do by themselves has made the assertion true. */
export async function soon(assertion: () => unknown): Promise<void> {
  let last: unknown;
  const holds = async (): Promise<boolean> => {
    try {
      await assertion();
      return true;
    } catch (error) {
      last = error;
      return false;
    }
  };
  await eventually(holds, 'an assertion', 10_000).catch(() => {
    throw last;
  });
}
