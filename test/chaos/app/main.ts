/**
 * One of several applications on one database. It loads everything it needs, says `warm`, and starts when
 * it is told how: so that whoever was killed has a successor at once.
 */
import 'reflect-metadata';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Module, type DynamicModule } from '@nestjs/common';
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { IdempotencyModule, type HttpRequest } from '../../../src/index.js';
import { setFailpoint } from '../../../src/engine/failpoints.js';
import { badStore } from '../bad/variants.js';
import { borrow } from './borrow.js';
import { ChaosController, PROVIDER_PORT } from './controller.js';
import { LedgerEntry, Stock } from './entities.js';
import { LEASE_MS, type AppCommand, type AppOptions, type Strike } from './options.js';
import { outlivingErrors } from './outlive-errors.js';
import { MarkUnrecorded, noteUnrecorded } from './unrecorded.js';

/** Often, so that it meets everything else. In milliseconds. */
const CLEANUP_MS = 500;
/** A connection that nobody uses holds up the shutdown for so long. */
const KEEP_ALIVE_MS = 300;

@Module({})
class ChaosModule {
  static with({ dataSource, providerPort, variant }: AppOptions): DynamicModule {
    return {
      module: ChaosModule,
      imports: [
        TypeOrmModule.forRoot({
          ...outlivingErrors(dataSource),
          entities: [Stock, LedgerEntry],
          // the database may be on its way up
          retryAttempts: 200,
          retryDelay: 50,
        }),
        TypeOrmModule.forFeature([Stock, LedgerEntry]),
        IdempotencyModule.forRoot({
          lease: LEASE_MS,
          storeTimeout: LEASE_MS,
          scope: (request: HttpRequest) => String(request.headers['x-tenant']),
          cleanup: { interval: CLEANUP_MS },
          hooks: { onRecordingFailed: noteUnrecorded },
          ...(variant !== undefined && { store: badStore(variant) }),
        }),
      ],
      controllers: [ChaosController],
      providers: [
        { provide: PROVIDER_PORT, useValue: providerPort },
        { provide: APP_INTERCEPTOR, useClass: MarkUnrecorded },
      ],
    };
  }
}

let dataSource: DataSource | undefined;

async function start(options: AppOptions): Promise<void> {
  const adapter =
    options.platform === 'express'
      ? new (await import('@nestjs/platform-express')).ExpressAdapter()
      : new (await import('@nestjs/platform-fastify')).FastifyAdapter();
  const app = await NestFactory.create(ChaosModule.with(options), adapter, { logger: ['error'] });
  app.enableShutdownHooks();
  const server = app.getHttpServer() as Server;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await app.listen(0, '127.0.0.1');
  dataSource = app.get(DataSource);
  process.send?.({ port: (server.address() as AddressInfo).port });
}

function arm({ at, action, pass = 1 }: Strike): void {
  let passed = 0;
  setFailpoint(at, async () => {
    passed += 1;
    if (passed !== pass) {
      return;
    }
    await new Promise((sent) => process.send?.('struck', sent));
    if (action === 'throw') {
      throw new Error(`The failpoint ${at} was armed.`);
    }
    process.kill(process.pid, action);
  });
  process.send?.('armed');
}

process.on('message', (command: AppCommand) => {
  if ('arm' in command) {
    arm(command.arm);
    return;
  }
  if ('borrow' in command) {
    void borrow(dataSource as DataSource, command.borrow).then((borrowed) =>
      process.send?.({ borrowed }),
    );
    return;
  }
  start(command.start).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit());
process.send?.('warm');
