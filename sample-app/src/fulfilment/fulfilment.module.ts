import { Module } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { idempotencyMigrations, typeOrmStore } from 'nestjs-idempotency/typeorm';
import { connectionTo } from '../database/database.options.js';
import type { DatabaseConfig } from '../database/database.options.js';
import { CreateFulfilment1764000300000 } from './create-fulfilment.migration.js';
import { FulfilmentController } from './fulfilment.controller.js';
import { FULFILMENT_DATABASE } from './fulfilment-database.js';
import { Reservation } from './reservation.entity.js';
import { SentMail } from './sent-mail.entity.js';

/** Its records lie beside its own tables, which may be in the database of the orders or in another one. */
const TABLE = { table: 'fulfilment_idempotency' };

@Module({})
export class FulfilmentModule {
  static forRoot(database: DatabaseConfig): DynamicModule {
    return {
      module: FulfilmentModule,
      imports: [
        TypeOrmModule.forRoot({
          name: FULFILMENT_DATABASE,
          ...connectionTo(database, 'fulfilment.sqlite'),
          entities: [Reservation, SentMail],
          migrations: [...idempotencyMigrations(TABLE), CreateFulfilment1764000300000],
          migrationsTableName: 'fulfilment_migrations',
          migrationsRun: true,
        }),
        TypeOrmModule.forFeature([Reservation, SentMail], FULFILMENT_DATABASE),
        IdempotencyModule.forRoot({
          store: typeOrmStore({ ...TABLE, dataSource: FULFILMENT_DATABASE }),
          noAck: false,
        }),
      ],
      controllers: [FulfilmentController],
    };
  }
}
