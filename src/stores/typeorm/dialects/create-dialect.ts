import type { DataSource } from 'typeorm';
import { misconfigured, tableNames } from '../schema.js';
import type { DialectName, TableNames, TableOptions } from '../schema.js';
import type { Dialect } from './dialect.js';
import { MariaDbDialect } from './mariadb.js';
import { MySqlDialect } from './mysql.js';
import { PostgresDialect } from './postgres.js';
import { SqliteDialect } from './sqlite.js';

/** Beside the public options, what the tests of the store itself need. */
export interface DialectOptions extends TableOptions {
  /** A SQL expression that answers epoch milliseconds, in place of the database's clock. */
  readonly clock?: string;
  /** In place of what the server says it is. */
  readonly dialect?: DialectName;
  /** Whether what comes at the same time shares statements, in place of what is faster there. */
  readonly microBatch?: boolean;
}

const DIALECTS: Record<
  DialectName,
  new (dataSource: DataSource, names: TableNames, clock?: string) => Dialect
> = {
  postgres: PostgresDialect,
  mariadb: MariaDbDialect,
  mysql: MySqlDialect,
  sqlite: SqliteDialect,
};

export async function createDialect(
  dataSource: DataSource,
  { dialect, clock, ...options }: DialectOptions,
): Promise<Dialect> {
  const name = dialect ?? (await detectDialect(dataSource, dataSource));
  const names = tableNames(name, withSchemaOf(dataSource, options));
  return new DIALECTS[name](dataSource, names, clock);
}

/** Asks the server: the driver type `mysql` is often used with MariaDB, and the other way round. */
export async function detectDialect(
  dataSource: DataSource,
  connection: { query(sql: string): Promise<unknown> },
): Promise<DialectName> {
  const { type } = dataSource.options;
  if (type === 'postgres') return 'postgres';
  if (type === 'better-sqlite3') return 'sqlite';
  if (type === 'mysql' || type === 'mariadb') {
    const rows = (await connection.query('SELECT VERSION() AS version')) as { version: string }[];
    return rows[0]?.version.includes('MariaDB') ? 'mariadb' : 'mysql';
  }
  throw misconfigured(
    `The idempotency store does not support a DataSource of type "${type}". Use one of type ` +
      `"postgres", "mysql", "mariadb" or "better-sqlite3", or another store.`,
  );
}

/** A DataSource may keep its tables in a schema that is not on the search path. */
export function withSchemaOf(dataSource: DataSource, options: TableOptions): TableOptions {
  const { options: given } = dataSource;
  const schema = options.schema ?? (given.type === 'postgres' ? given.schema : undefined);
  return schema === undefined ? options : { ...options, schema };
}
