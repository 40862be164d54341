import type { MigrationInterface, QueryRunner } from 'typeorm';
import { createStatements, dropStatements } from './ddl.js';
import { migrationsOf, runStatements } from './migrations-of.js';
import { tableNames, type TableOptions } from './schema.js';

/** Creates the table of the store under its default name, on any supported database. */
export class CreateIdempotencyRecord1764000000000 implements MigrationInterface {
  name = 'CreateIdempotencyRecord1764000000000';
  protected readonly options: TableOptions = {};

  async up(queryRunner: QueryRunner): Promise<void> {
    await runStatements(queryRunner, this.options, tableNames, createStatements);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await runStatements(queryRunner, this.options, tableNames, dropStatements);
  }
}

/**
 * The migrations of the store, for `migrations` of a DataSource. Give the same `table` and `schema` as
 * to the store. The schema itself must exist.
 */
export function idempotencyMigrations(
  options: TableOptions = {},
): (new () => MigrationInterface)[] {
  return migrationsOf(
    'idempotencyMigrations()',
    options,
    CreateIdempotencyRecord1764000000000,
    (place) =>
      class extends CreateIdempotencyRecord1764000000000 {
        override name = `CreateIdempotencyRecord_${place}_1764000000000`;
        protected override readonly options = options;
      },
  );
}
