/**
 * One of several applications on one database. It loads everything it needs, says `warm`, and starts when
 * it is told how: so that whoever was killed has a successor at once.
 */
import 'reflect-metadata';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule, type HttpRequest } from '../../../src/index.js';
import { setFailpoint } from '../../../src/testing/index.js';
import { badStore } from '../bad/variants.js';
import { ChaosController, PROVIDER_PORT } from './controller.js';
import { LedgerEntry, Stock } from './entities.js';
import { LEASE_MS, type AppOptions, type FailpointAction } from './options.js';
import { markUnrecorded, noteUnrecorded } from './unrecorded.js';

@Module({})
class ChaosModule {
  static with({ dataSource, providerPort, variant }: AppOptions): DynamicModule {
    return {
      module: ChaosModule,
      imports: [
        TypeOrmModule.forRoot({
          ...dataSource,
          entities: [Stock, LedgerEntry],
          // the database may be on its way up
          retryAttempts: 200,
          retryDelay: 50,
        }),
        IdempotencyModule.forRoot({
          lease: LEASE_MS,
          storeTimeout: LEASE_MS,
          scope: (request: HttpRequest) => String(request.headers['x-tenant']),
          hooks: { onRecordingFailed: noteUnrecorded },
          ...(variant !== undefined && { store: badStore(variant) }),
        }),
      ],
      controllers: [ChaosController],
      providers: [{ provide: PROVIDER_PORT, useValue: providerPort }],
    };
  }
}

async function start(options: AppOptions): Promise<void> {
  const adapter =
    options.platform === 'express'
      ? new (await import('@nestjs/platform-express')).ExpressAdapter()
      : new (await import('@nestjs/platform-fastify')).FastifyAdapter();
  const app = await NestFactory.create(ChaosModule.with(options), adapter, { logger: ['error'] });
  app.use(markUnrecorded);
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  if (options.failpoint !== undefined) {
    arm(options.failpoint);
  }
  const server = app.getHttpServer() as Server<typeof IncomingMessage>;
  process.send?.({ port: (server.address() as AddressInfo).port });
}

function arm({ at, action }: { at: Parameters<typeof setFailpoint>[0]; action: FailpointAction }) {
  let isArmed = true;
  setFailpoint(at, () => {
    if (!isArmed) {
      return;
    }
    isArmed = false;
    if (action === 'throw') {
      throw new Error(`The failpoint ${at} was armed.`);
    }
    process.kill(process.pid, action);
  });
}

process.once('message', (options: AppOptions) => {
  start(options).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit());
process.send?.('warm');
