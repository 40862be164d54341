/**
 * An application in a process of its own whose handlers come to their effects step by step, for tests that kill,
 * stop and resume it. Every effect is a row of the table `effect`, named after the request and what it did.
 */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Body, Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { setFailpoint } from '../../src/engine/failpoints.js';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  type IdempotencyContext,
} from '../../src/index.js';
import type { ShopOptions } from './shop-server.js';

const given = JSON.parse(process.argv[2] as string) as ShopOptions;

interface Order {
  readonly name: string;
  /** The process tells of its effect here and waits for this long. */
  readonly holdAfter?: 'reserve' | 'inside charge' | 'charge';
  readonly holdMs?: number;
  /** Throws after this step, in the first attempt. */
  readonly failAfter?: 'reserve' | 'charge';
}

@Controller('orders')
class OrdersController {
  constructor(private readonly dataSource: DataSource) {}

  @Post()
  @Idempotent()
  async place(@Body() order: Order, @CurrentIdempotency() once: IdempotencyContext) {
    const reservedAt = await once.step('reserve', async () => {
      await this.effect(order, 'reserve', once);
      return new Date();
    });
    await this.reached('reserve', order, once);
    const charge = await once.step('charge', async () => {
      const id = await this.effect(order, 'charge', once);
      await this.reached('inside charge', order, once);
      return { id, key: once.derive('charge') };
    });
    await this.reached('charge', order, once);
    await once.step('mail', () => this.effect(order, 'mail', once));
    return { year: reservedAt.getUTCFullYear(), charge, attempt: once.attempt };
  }

  private async effect(order: Order, what: string, once: IdempotencyContext): Promise<string> {
    const id = randomUUID();
    await this.dataSource
      .createQueryBuilder()
      .insert()
      .into('effect')
      .values({ id, name: `${order.name} ${what}`, fence: String(once.fence) })
      .execute();
    return id;
  }

  private async reached(
    place: string,
    { holdAfter, holdMs = 60_000, failAfter }: Order,
    once: IdempotencyContext,
  ): Promise<void> {
    if (once.attempt > 1) {
      return;
    }
    if (place === failAfter) {
      throw new Error('the network is down');
    }
    if (place === holdAfter) {
      process.send?.('effect');
      await new Promise((resolve) => setTimeout(resolve, holdMs));
    }
  }
}

@Module({
  imports: [TypeOrmModule.forRoot(given.dataSource), IdempotencyModule.forRoot(given.idempotency)],
  controllers: [OrdersController],
})
class ShopModule {}

if (given.dieAt !== undefined) {
  setFailpoint(given.dieAt, () => process.kill(process.pid, 'SIGKILL'));
}
const adapter =
  given.platform === 'express'
    ? new (await import('@nestjs/platform-express')).ExpressAdapter()
    : new (await import('@nestjs/platform-fastify')).FastifyAdapter();
const app = await NestFactory.create(ShopModule, adapter, { logger: false });
app.enableShutdownHooks();
await app.listen(0, '127.0.0.1');
process.send?.({ port: ((app.getHttpServer() as Server).address() as AddressInfo).port });
process.on('disconnect', () => process.exit());
