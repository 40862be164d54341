import type { MigrationInterface, QueryRunner } from 'typeorm';
import { detectDialect, withSchemaOf } from './dialects/create-dialect.js';
import { checkTableOptions, type DialectName, type TableOptions } from './schema.js';

/** Runs the statements of a migration, as the database that it runs on needs them. */
export async function runStatements<Names>(
  queryRunner: QueryRunner,
  options: TableOptions,
  namesOf: (dialect: DialectName, options: TableOptions) => Names,
  statements: (dialect: DialectName, names: Names) => string[],
): Promise<void> {
  const { dataSource } = queryRunner;
  const dialect = await detectDialect(dataSource, queryRunner);
  const names = namesOf(dialect, withSchemaOf(dataSource, options));
  for (const statement of statements(dialect, names)) {
    await queryRunner.query(statement);
  }
}

type Migration = new () => MigrationInterface;

/** The migration for a table of that name and schema; `at` makes one that is not in its default place. */
export function migrationsOf(
  where: string,
  options: TableOptions,
  byDefault: Migration,
  at: (place: string) => Migration,
): Migration[] {
  checkTableOptions(where, options, ['table', 'schema']);
  const { table, schema } = options;
  if (table === undefined && schema === undefined) {
    return [byDefault];
  }
  // TypeORM tells migrations apart by their name, which ends in a timestamp.
  return [at([schema, table].filter((part) => part !== undefined).join('.'))];
}
