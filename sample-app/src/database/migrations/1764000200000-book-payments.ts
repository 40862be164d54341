import { Table, TableColumn } from 'typeorm';
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The provider counts how often it is asked and may decline; the shop keeps books of its own. */
export class BookPayments1764000200000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(
      'charge',
      new TableColumn({ name: 'state', type: 'varchar', length: '16', default: "'charged'" }),
    );
    await queryRunner.createTable(
      new Table({
        name: 'charge_attempt',
        columns: [
          { name: 'id', type: 'varchar', length: '36', isPrimary: true },
          { name: 'idempotency_key', type: 'varchar', length: '255' },
        ],
      }),
    );
    await queryRunner.createTable(
      new Table({
        name: 'payment',
        columns: [
          { name: 'order_id', type: 'varchar', length: '36', isPrimary: true },
          { name: 'charge_id', type: 'varchar', length: '36' },
          { name: 'amount_cents', type: 'integer' },
        ],
      }),
    );
    await queryRunner.createTable(
      new Table({
        name: 'receipt',
        columns: [
          {
            name: 'number',
            type: 'integer',
            isPrimary: true,
            isGenerated: true,
            generationStrategy: 'increment',
          },
          { name: 'order_id', type: 'varchar', length: '36' },
          { name: 'total_cents', type: 'integer' },
        ],
      }),
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable('receipt');
    await queryRunner.dropTable('payment');
    await queryRunner.dropTable('charge_attempt');
    await queryRunner.dropColumn('charge', 'state');
  }
}
