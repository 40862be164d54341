import type { MigrationInterface, QueryRunner } from 'typeorm';
import { divideStatements, uniteStatements } from './daily-ddl.js';
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

/** Divides the table of the store under its default name by the days of its keys, on PostgreSQL. */
export class DivideIdempotencyByDay1764000000003 implements MigrationInterface {
  name = 'DivideIdempotencyByDay1764000000003';
  protected readonly options: TableOptions = {};

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` on any other database. */
  async up(queryRunner: QueryRunner): Promise<void> {
    await runStatements(queryRunner, this.options, tableNames, divideStatements);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await runStatements(queryRunner, this.options, tableNames, uniteStatements);
  }
}

export interface MigrationOptions extends TableOptions {
  /**
   * Divides the table by the days on which keys were made that say so (UUIDv7, ULID), so that clean-up drops
   * whole days. PostgreSQL only.
   * @default false
   */
  readonly dailyPartitions?: boolean;
}

/**
 * The migrations of the store, for `migrations` of a DataSource. Give the same `table`, `schema` and `scopeIndex`
 * as to the store. The schema itself must exist.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an unknown option.
 */
export function idempotencyMigrations(
  options: MigrationOptions = {},
): (new () => MigrationInterface)[] {
  const where = 'idempotencyMigrations()';
  checkTableOptions(where, options, ['table', 'schema', 'scopeIndex', 'dailyPartitions']);
  const { scopeIndex = false, dailyPartitions = false, ...at } = options;
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
  const divide = migrationsOf(
    where,
    at,
    DivideIdempotencyByDay1764000000003,
    (place) =>
      class extends DivideIdempotencyByDay1764000000003 {
        override name = `DivideIdempotencyByDay_${place}_1764000000003`;
        protected override readonly options = at;
      },
  );
  return [...create, ...(scopeIndex ? index : []), ...(dailyPartitions ? divide : [])];
}
