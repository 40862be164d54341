import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { DatabaseConfig } from '../database/database.options.js';
import type { Broker } from '../messaging/broker.js';
import { FulfilmentModule } from './fulfilment.module.js';

export interface FulfilmentOptions {
  readonly broker: Broker;
  readonly database?: DatabaseConfig;
  readonly logger?: false;
}

/** The second service, migrated and listening for orders. */
export async function startFulfilment({
  broker,
  database = {},
  logger,
}: FulfilmentOptions): Promise<INestMicroservice> {
  const app = await NestFactory.createMicroservice(FulfilmentModule.forRoot(database), {
    ...broker.server,
    logger: logger ?? ['error', 'warn'],
  });
  app.enableShutdownHooks();
  await app.listen();
  return app;
}
