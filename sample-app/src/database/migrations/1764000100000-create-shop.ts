import { Table } from 'typeorm';
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The application's own tables and what is on its shelves, on every database that it supports. */
export class CreateShop1764000100000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(
      new Table({
        name: 'stock',
        columns: [
          { name: 'sku', type: 'varchar', length: '64', isPrimary: true },
          { name: 'quantity', type: 'integer' },
          { name: 'price_cents', type: 'integer' },
        ],
      }),
    );
    await queryRunner.createTable(
      new Table({
        name: 'orders',
        columns: [
          { name: 'id', type: 'varchar', length: '36', isPrimary: true },
          { name: 'tenant', type: 'varchar', length: '64' },
          { name: 'sku', type: 'varchar', length: '64' },
          { name: 'quantity', type: 'integer' },
          { name: 'total_cents', type: 'integer' },
          { name: 'state', type: 'varchar', length: '16' },
          { name: 'note', type: 'varchar', length: '500' },
          { name: 'payment_key', type: 'varchar', length: '255' },
          { name: 'version', type: 'integer' },
          { name: 'placed_at', type: 'varchar', length: '24' },
        ],
        indices: [{ name: 'orders_tenant_placed_at', columnNames: ['tenant', 'placed_at'] }],
      }),
    );
    await queryRunner.createTable(
      new Table({
        name: 'charge',
        columns: [
          { name: 'id', type: 'varchar', length: '36', isPrimary: true },
          { name: 'idempotency_key', type: 'varchar', length: '255' },
          { name: 'order_id', type: 'varchar', length: '36' },
          { name: 'amount_cents', type: 'integer' },
        ],
        indices: [
          { name: 'charge_idempotency_key', columnNames: ['idempotency_key'], isUnique: true },
        ],
      }),
    );
    await queryRunner.query(
      `INSERT INTO stock (sku, quantity, price_cents)
       VALUES ('tea', 1000, 450), ('coffee', 500, 780), ('rare', 1, 12000)`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable('charge');
    await queryRunner.dropTable('orders');
    await queryRunner.dropTable('stock');
  }
}
