/** A small application as a user would write it; `run.mjs` compiles and calls it. */
import 'reflect-metadata';
import { Body, Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CurrentIdempotency, IdempotencyModule, Idempotent } from 'nestjs-idempotency';
import type { IdempotencyContext, IdempotencyModuleOptions } from 'nestjs-idempotency';
import { idempotencyMigrations } from 'nestjs-idempotency/typeorm';
import { DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';

class CreateOrders1764000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE orders (id integer PRIMARY KEY, sku text, charge text)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE orders');
  }
}

@Controller('orders')
class OrdersController {
  constructor(private readonly dataSource: DataSource) {}

  @Post()
  @Idempotent({ lease: '10s' })
  async place(@Body() order: { sku: string }, @CurrentIdempotency() once: IdempotencyContext) {
    const rows = await this.dataSource.query<{ id: number; sku: string; charge: string }[]>(
      'INSERT INTO orders (sku, charge) VALUES (?, ?) RETURNING id, sku, charge',
      [order.sku, once.derive('charge')],
    );
    return rows[0];
  }
}

const options: IdempotencyModuleOptions = { ttl: '1h' };

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3',
      database: process.env['DATABASE_FILE'] ?? 'orders.sqlite',
      migrations: [...idempotencyMigrations(), CreateOrders1764000000001],
      migrationsRun: true,
    }),
    IdempotencyModule.forRoot(options),
  ],
  controllers: [OrdersController],
})
class AppModule {}

const fastify = process.env['PLATFORM'] === 'fastify';
const app = fastify
  ? await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter())
  : await NestFactory.create(AppModule, new ExpressAdapter());
app.enableShutdownHooks();
await app.listen(0, '127.0.0.1');
console.log(`listening on ${await app.getUrl()}`);
