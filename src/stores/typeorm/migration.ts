import type { MigrationInterface, QueryRunner } from 'typeorm';
import { createStatements, dropStatements } from './ddl.js';
import { detectDialect, withSchemaOf } from './dialects/create-dialect.js';
import { checkTableOptions, tableNames } from './schema.js';
import type { DialectName, TableNames, TableOptions } from './schema.js';

/** Creates the table of the store under its default name, on any supported database. */
export class CreateIdempotencyRecord1764000000000 implements MigrationInterface {
  name = 'CreateIdempotencyRecord1764000000000';
  protected readonly options: TableOptions = {};

  async up(queryRunner: QueryRunner): Promise<void> {
    await this.run(queryRunner, createStatements);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await this.run(queryRunner, dropStatements);
  }

  private async run(
    queryRunner: QueryRunner,
    statements: (dialect: DialectName, names: TableNames) => string[],
  ): Promise<void> {
    const { dataSource } = queryRunner;
    const dialect = await detectDialect(dataSource, queryRunner);
    const names = tableNames(dialect, withSchemaOf(dataSource, this.options));
    for (const statement of statements(dialect, names)) await queryRunner.query(statement);
  }
}

/**
 * The migrations of the store, for `migrations` of a DataSource. Give the same `table` and `schema` as
 * to the store. The schema itself must exist.
 */
export function idempotencyMigrations(
  options: TableOptions = {},
): (new () => MigrationInterface)[] {
  checkTableOptions('idempotencyMigrations()', options, ['table', 'schema']);
  const { table, schema } = options;
  if (table === undefined && schema === undefined) return [CreateIdempotencyRecord1764000000000];
  // TypeORM tells migrations apart by their name, which ends in a timestamp.
  const place = [schema, table].filter((part) => part !== undefined).join('.');
  return [
    class extends CreateIdempotencyRecord1764000000000 {
      override name = `CreateIdempotencyRecord_${place}_1764000000000`;
      protected override readonly options = options;
    },
  ];
}
