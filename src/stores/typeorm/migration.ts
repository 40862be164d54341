import type { MigrationInterface, QueryRunner } from 'typeorm';
import {
  createStatements,
  dropScopeIndexStatements,
  dropStatements,
  scopeIndexStatements,
} from './ddl.js';
import { migrationsOf, runStatements } from './migrations-of.js';
import { checkTableOptions, tableNames, type TableOptions } from './schema.js';

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

/** Adds the index on scope to the table of the store under its default name, on any supported database. */
export class IndexIdempotencyScope1764000000002 implements MigrationInterface {
  name = 'IndexIdempotencyScope1764000000002';
  protected readonly options: TableOptions = {};

  async up(queryRunner: QueryRunner): Promise<void> {
    const options = { ...this.options, scopeIndex: true };
    await runStatements(queryRunner, options, tableNames, scopeIndexStatements);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    const options = { ...this.options, scopeIndex: true };
    await runStatements(queryRunner, options, tableNames, dropScopeIndexStatements);
  }
}

/**
 * The migrations of the store, for `migrations` of a DataSource. Give the same `table`, `schema` and `scopeIndex`
 * as to the store. The schema itself must exist.
 */
export function idempotencyMigrations(
  options: TableOptions = {},
): (new () => MigrationInterface)[] {
  const where = 'idempotencyMigrations()';
  checkTableOptions(where, options, ['table', 'schema', 'scopeIndex']);
  const { scopeIndex = false, ...at } = options;
  const create = migrationsOf(
    where,
    at,
    CreateIdempotencyRecord1764000000000,
    (place) =>
      class extends CreateIdempotencyRecord1764000000000 {
        override name = `CreateIdempotencyRecord_${place}_1764000000000`;
        protected override readonly options = at;
      },
  );
  if (!scopeIndex) return create;
  const index = migrationsOf(
    where,
    at,
    IndexIdempotencyScope1764000000002,
    (place) =>
      class extends IndexIdempotencyScope1764000000002 {
        override name = `IndexIdempotencyScope_${place}_1764000000002`;
        protected override readonly options = at;
      },
  );
  return [...create, ...index];
}
