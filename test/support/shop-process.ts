/** What every application in a process of its own does: reads its options, listens, and dies when it is told to. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { LogLevel, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { DataSourceOptions } from 'typeorm';
import { setFailpoint, type Failpoint } from '../../src/engine/failpoints.js';
import type { IdempotencyModuleOptions } from '../../src/index.js';

export interface ShopOptions {
  readonly platform: 'express' | 'fastify';
  /** Of those that keep their effects in a database. */
  readonly dataSource?: DataSourceOptions;
  /** Of those that keep records and effects in Redis. */
  readonly redisPort?: number;
  readonly idempotency: IdempotencyModuleOptions;
  /** The process kills itself with SIGKILL when an operation passes this point. */
  readonly dieAt?: Failpoint;
}

export const given = JSON.parse(process.argv[2] as string) as ShopOptions;

export async function serve(module: Type, logger: false | LogLevel[]): Promise<void> {
  if (given.dieAt !== undefined) {
    setFailpoint(given.dieAt, () => process.kill(process.pid, 'SIGKILL'));
  }
  // only the one that is needed: a quarter of a second for each process
  const adapter =
    given.platform === 'express'
      ? new (await import('@nestjs/platform-express')).ExpressAdapter()
      : new (await import('@nestjs/platform-fastify')).FastifyAdapter();
  const app = await NestFactory.create(module, adapter, { logger });
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  process.send?.({ port: ((app.getHttpServer() as Server).address() as AddressInfo).port });
  process.on('disconnect', () => process.exit());
}
