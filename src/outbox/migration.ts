import type { MigrationInterface, QueryRunner } from 'typeorm';
import { detectDialect, withSchemaOf } from '../stores/typeorm/dialects/create-dialect.js';
import { checkTableOptions, type DialectName } from '../stores/typeorm/schema.js';
import {
  createStatements,
  dropStatements,
  outboxNames,
  type OutboxNames,
  type OutboxTableOptions,
} from './schema.js';

/** Creates the table of the outbox under its default name, on any supported database. */
export class CreateIdempotencyOutbox1764000000001 implements MigrationInterface {
  name = 'CreateIdempotencyOutbox1764000000001';
  protected readonly options: OutboxTableOptions = {};

  async up(queryRunner: QueryRunner): Promise<void> {
    await this.run(queryRunner, createStatements);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await this.run(queryRunner, dropStatements);
  }

  private async run(
    queryRunner: QueryRunner,
    statements: (dialect: DialectName, names: OutboxNames) => string[],
  ): Promise<void> {
    const { dataSource } = queryRunner;
    const dialect = await detectDialect(dataSource, queryRunner);
    const names = outboxNames(dialect, withSchemaOf(dataSource, this.options));
    for (const statement of statements(dialect, names)) {
      await queryRunner.query(statement);
    }
  }
}

/**
 * The migrations of the outbox, for `migrations` of a DataSource. Give the same `table` and `schema` as to
 * the `OutboxModule`. The schema itself must exist.
 */
export function outboxMigrations(
  options: OutboxTableOptions = {},
): (new () => MigrationInterface)[] {
  checkTableOptions('outboxMigrations()', options, ['table', 'schema']);
  const { table, schema } = options;
  if (table === undefined && schema === undefined) {
    return [CreateIdempotencyOutbox1764000000001];
  }
  // TypeORM tells migrations apart by their name, which ends in a timestamp.
  const place = [schema, table].filter((part) => part !== undefined).join('.');
  return [
    class extends CreateIdempotencyOutbox1764000000001 {
      override name = `CreateIdempotencyOutbox_${place}_1764000000001`;
      protected override readonly options = options;
    },
  ];
}
