/** A small application as a user would write it; `run.mjs` compiles and calls it. */
import 'reflect-metadata';
import { Body, ConflictException, Controller, Injectable, Module, Post } from '@nestjs/common';
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

@Injectable()
class Orders {
  constructor(private readonly dataSource: DataSource) {}

  async add(sku: string): Promise<number> {
    const rows = await this.dataSource.query<{ id: number }[]>(
      'INSERT INTO orders (sku) VALUES (?) RETURNING id',
      [sku],
    );
    return rows[0]!.id;
  }

  @Idempotent({ key: (day: string) => day })
  async report(day: string): Promise<{ day: string; at: Date }> {
    return { day, at: new Date() };
  }
}

@Controller('orders')
class OrdersController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly orders: Orders,
  ) {}

  /** Needs no key of the client: the method has one. */
  @Post('report')
  report() {
    return this.orders.report('2026-11-24');
  }

  @Post()
  @Idempotent({ lease: '10s' })
  async place(@Body() order: { sku: string }, @CurrentIdempotency() once: IdempotencyContext) {
    const rows = await this.dataSource.query<{ id: number; sku: string; charge: string }[]>(
      'INSERT INTO orders (sku, charge) VALUES (?, ?) RETURNING id, sku, charge',
      [order.sku, once.derive('charge')],
    );
    return rows[0];
  }

  /** Two orders or none: the second one is refused for what is sold out. */
  @Post('pairs')
  @Idempotent({ mode: 'transactional', strict: true })
  async placeTwo(@Body() order: { sku: string }) {
    const ids = [await this.orders.add(order.sku)];
    if (order.sku === 'sold-out') {
      throw new ConflictException('There is only one left.');
    }
    ids.push(await this.orders.add(order.sku));
    return ids;
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
  providers: [Orders],
})
class AppModule {}

const fastify = process.env['PLATFORM'] === 'fastify';
const app = fastify
  ? await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter())
  : await NestFactory.create(AppModule, new ExpressAdapter());
app.enableShutdownHooks();
await app.listen(0, '127.0.0.1');
console.log(`listening on ${await app.getUrl()}`);
