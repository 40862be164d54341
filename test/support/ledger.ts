import { Test, type TestingModule } from '@nestjs/testing';
import { IdempotencyModule, IdempotencyService, type IdempotencyHooks } from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import { EntitySchema, type DataSource, type Repository } from 'typeorm';
import { createTestDatabase, type TestDatabase, type TestDialect } from './databases.js';

export interface Entry {
  id?: number;
  name: string;
}

export const EntryEntity = new EntitySchema<Entry>({
  name: 'entry',
  columns: {
    id: { type: Number, primary: true, generated: true },
    name: { type: String, length: 190, unique: true },
  },
});

/** An application with one table of effects, over a pool of one connection. */
export interface Ledger {
  readonly database: TestDatabase;
  readonly dataSource: DataSource;
  readonly service: IdempotencyService;
  readonly entries: Repository<Entry>;
  readonly app: TestingModule;
  /** Names of the committed entries, as somebody else sees them. */
  committed(): Promise<string[]>;
  close(): Promise<void>;
}

export async function openLedger(
  dialect: TestDialect,
  {
    hooks,
    poolSize = 1,
    extra,
  }: { hooks?: IdempotencyHooks; poolSize?: number; extra?: object } = {},
): Promise<Ledger> {
  const database = await createTestDatabase(dialect);
  const limit = dialect === 'postgres' ? { max: poolSize } : { connectionLimit: poolSize };
  const dataSource = await database.open({
    synchronize: true,
    entities: [EntryEntity],
    ...(dialect.startsWith('sqlite') ? {} : { extra: limit }),
    ...extra,
  });
  const app = await Test.createTestingModule({
    imports: [
      IdempotencyModule.forRoot({
        store: typeOrmStore({ dataSource }),
        mode: 'transactional',
        cleanup: false,
        ...(hooks === undefined ? {} : { hooks }),
      }),
    ],
  }).compile();
  await app.init();
  // in memory SQLite has no second connection to look from
  const observer =
    dialect === 'sqlite' ? dataSource : await database.open({ entities: [EntryEntity] });
  return {
    database,
    dataSource,
    app,
    service: app.get(IdempotencyService),
    entries: dataSource.getRepository(EntryEntity),
    committed: async () => {
      const rows = await observer.getRepository(EntryEntity).find({ order: { name: 'ASC' } });
      return rows.map(({ name }) => name);
    },
    close: async () => {
      await app.close();
      await database.drop();
    },
  };
}
