import { Table } from 'typeorm';
import type { MigrationInterface, QueryRunner } from 'typeorm';

const ID = {
  name: 'id',
  type: 'integer',
  isPrimary: true,
  isGenerated: true,
  generationStrategy: 'increment',
} as const;
const ORDER_ID = { name: 'order_id', type: 'varchar', length: '36' };

export class CreateFulfilment1764000300000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(
      new Table({
        name: 'reservation',
        columns: [
          ID,
          ORDER_ID,
          { name: 'sku', type: 'varchar', length: '64' },
          { name: 'quantity', type: 'integer' },
        ],
      }),
    );
    await queryRunner.createTable(
      new Table({
        name: 'sent_mail',
        columns: [ID, ORDER_ID, { name: 'subject', type: 'varchar', length: '200' }],
      }),
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable('sent_mail');
    await queryRunner.dropTable('reservation');
  }
}
