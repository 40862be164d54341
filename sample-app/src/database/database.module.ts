import { Global, Module } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { databaseOptions } from './database.options.js';
import type { DatabaseConfig } from './database.options.js';
import { Transactions } from './transactions.js';

@Global()
@Module({ providers: [Transactions], exports: [Transactions] })
export class DatabaseModule {
  static forRoot(config: DatabaseConfig): DynamicModule {
    return { module: DatabaseModule, imports: [TypeOrmModule.forRoot(databaseOptions(config))] };
  }
}
