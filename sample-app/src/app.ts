import { ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { serveApiDocs } from './api-docs.js';
import { AppModule } from './app.module.js';
import type { DatabaseConfig } from './database/database.options.js';
import { serveLab } from './lab/serve-lab.js';
import type { Broker } from './messaging/broker.js';

export interface AppOptions {
  /** Where the fulfilment service is reached. */
  readonly broker: Broker;
  /**
   * How often each of its messages is delivered there.
   * @default 1
   */
  readonly copies?: number;
  /** The embedded SQLite file of the sample by default. */
  readonly database?: DatabaseConfig;
  /** `false` silences the start-up log. */
  readonly logger?: false;
}

/** The whole application, migrated and ready to `listen()`. */
export async function createApp(options: AppOptions): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(
    AppModule.forRoot(options.database ?? {}, options.broker, options.copies ?? 1),
    options.logger === false ? { logger: false } : { logger: ['error', 'warn'] },
  );
  app.useGlobalPipes(
    new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true, transform: true }),
  );
  app.enableCors({
    allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key', 'If-Match'],
    exposedHeaders: ['ETag', 'Idempotent-Replayed', 'Location', 'Retry-After'],
  });
  serveApiDocs(app);
  serveLab(app);
  app.enableShutdownHooks();
  return app;
}
