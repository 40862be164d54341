/**
 * An application in a process of its own, for tests that kill, stop and resume it. `POST /effects` adds a
 * row to the table `effect` and answers with a random id of its own, so that two runs never look alike.
 */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Body, Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { setFailpoint, type Failpoint } from '../../src/engine/failpoints.js';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  type IdempotencyContext,
  type IdempotencyModuleOptions,
} from '../../src/index.js';

export interface ShopOptions {
  readonly platform: 'express' | 'fastify';
  readonly dataSource: DataSourceOptions;
  readonly idempotency: IdempotencyModuleOptions;
  /** The process kills itself with SIGKILL when an operation passes this point. */
  readonly dieAt?: Failpoint;
}

const given = JSON.parse(process.argv[2] as string) as ShopOptions;

@Controller('effects')
class EffectsController {
  constructor(private readonly dataSource: DataSource) {}

  @Post()
  @Idempotent()
  async add(
    @Body() { name, holdMs = 0 }: { name: string; holdMs?: number },
    @CurrentIdempotency() once: IdempotencyContext,
  ) {
    const id = randomUUID();
    await this.dataSource
      .createQueryBuilder()
      .insert()
      .into('effect')
      .values({ id, name, fence: String(once.fence) })
      .execute();
    process.send?.('effect');
    await new Promise((resolve) => setTimeout(resolve, holdMs));
    return { id, attempt: once.attempt, lost: once.signal.aborted };
  }
}

@Module({
  imports: [TypeOrmModule.forRoot(given.dataSource), IdempotencyModule.forRoot(given.idempotency)],
  controllers: [EffectsController],
})
class ShopModule {}

if (given.dieAt !== undefined) {
  setFailpoint(given.dieAt, () => process.kill(process.pid, 'SIGKILL'));
}
// only the one that is needed: a quarter of a second for each process
const adapter =
  given.platform === 'express'
    ? new (await import('@nestjs/platform-express')).ExpressAdapter()
    : new (await import('@nestjs/platform-fastify')).FastifyAdapter();
const app = await NestFactory.create(ShopModule, adapter, { logger: ['error'] });
app.enableShutdownHooks();
await app.listen(0, '127.0.0.1');
process.send?.({ port: ((app.getHttpServer() as Server).address() as AddressInfo).port });
process.on('disconnect', () => process.exit());
