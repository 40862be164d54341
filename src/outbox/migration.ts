import type { MigrationInterface, QueryRunner } from 'typeorm';
import { migrationsOf, runStatements } from '../stores/typeorm/migrations-of.js';
import {
  createStatements,
  dropStatements,
  outboxNames,
  type OutboxTableOptions,
} from './schema.js';

/** Creates the table of the outbox under its default name, on any supported database. */
export class CreateIdempotencyOutbox1764000000001 implements MigrationInterface {
  name = 'CreateIdempotencyOutbox1764000000001';
  protected readonly options: OutboxTableOptions = {};

  async up(queryRunner: QueryRunner): Promise<void> {
    await runStatements(queryRunner, this.options, outboxNames, createStatements);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await runStatements(queryRunner, this.options, outboxNames, dropStatements);
  }
}

/**
 * The migrations of the outbox, for `migrations` of a DataSource. Give the same `table` and `schema` as to
 * the `OutboxModule`. The schema itself must exist.
 */
export function outboxMigrations(
  options: OutboxTableOptions = {},
): (new () => MigrationInterface)[] {
  return migrationsOf(
    'outboxMigrations()',
    options,
    CreateIdempotencyOutbox1764000000001,
    (place) =>
      class extends CreateIdempotencyOutbox1764000000001 {
        override name = `CreateIdempotencyOutbox_${place}_1764000000001`;
        protected override readonly options = options;
      },
  );
}
