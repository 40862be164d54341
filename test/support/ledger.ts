import { Test, type TestingModule } from '@nestjs/testing';
import { IdempotencyModule, IdempotencyService, type IdempotencyHooks } from 'nestjs-idempotency';
import { TypeOrmStore, typeOrmStore } from 'nestjs-idempotency/typeorm';
import { EntitySchema, type DataSource, type Repository } from 'typeorm';
import {
  availableDialects,
  createTestDatabase,
  type TestDatabase,
  type TestDialect,
} from './databases.js';

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

/** `mysql-statements`: the statements for MySQL itself, against MariaDB. */
export type LedgerPath = Exclude<TestDialect, 'mysql'> | 'mysql-statements';

/** Every way in which effects and records are committed together. */
export function ledgerPaths(): LedgerPath[] {
  return availableDialects().map((dialect) => (dialect === 'mysql' ? 'mysql-statements' : dialect));
}

/** An application with one table of effects, over a pool of one connection. */
export interface Ledger {
  readonly database: TestDatabase;
  readonly dataSource: DataSource;
  readonly service: IdempotencyService;
  readonly entries: Repository<Entry>;
  readonly app: TestingModule;
  /** Names of the committed entries, as somebody else sees them. */
  committed(): Promise<string[]>;
  /** The same application once more, as another process would have it. */
  another(extra?: object): Promise<Pick<Ledger, 'dataSource' | 'service'>>;
  close(): Promise<void>;
}

export async function openLedger(
  path: LedgerPath,
  {
    hooks,
    poolSize = 1,
    extra,
    via,
  }: {
    hooks?: IdempotencyHooks;
    poolSize?: number;
    extra?: object;
    /** Another way to the same server. */
    via?: (url: string) => string;
  } = {},
): Promise<Ledger> {
  const dialect = path === 'mysql-statements' ? 'mysql' : path;
  const database = await createTestDatabase(dialect);
  const limit = dialect === 'postgres' ? { max: poolSize } : { connectionLimit: poolSize };
  const settings = {
    entities: [EntryEntity],
    ...(dialect.startsWith('sqlite') ? {} : { extra: limit }),
    ...(via !== undefined && { url: via((database.options as { url: string }).url) }),
    ...extra,
  };
  const others: TestingModule[] = [];
  const dataSource = await database.open({ ...settings, synchronize: true });
  const app = await start(path, dataSource, hooks);
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
    another: async (theirExtra) => {
      const theirs = await database.open({ ...settings, ...theirExtra });
      const other = await start(path, theirs);
      others.push(other);
      return { dataSource: theirs, service: other.get(IdempotencyService) };
    },
    close: async () => {
      await Promise.all([app, ...others].map((it) => it.close()));
      await database.drop();
    },
  };
}

async function start(
  path: LedgerPath,
  dataSource: DataSource,
  hooks: IdempotencyHooks = {},
): Promise<TestingModule> {
  const store =
    path === 'mysql-statements'
      ? new TypeOrmStore(dataSource, { dialect: 'mysql' })
      : typeOrmStore({ dataSource });
  const app = await Test.createTestingModule({
    imports: [IdempotencyModule.forRoot({ store, mode: 'transactional', cleanup: false, hooks })],
  }).compile();
  return app.init();
}
