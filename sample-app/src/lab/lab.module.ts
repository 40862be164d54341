import { Module } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import type { DatabaseConfig } from '../database/database.options.js';
import type { Broker } from '../messaging/broker.js';
import { Instances } from './instances.js';
import { LabController } from './lab.controller.js';

@Module({})
export class LabModule {
  static forRoot(database: DatabaseConfig, broker: Broker): DynamicModule {
    return {
      module: LabModule,
      controllers: [LabController],
      providers: [{ provide: Instances, useValue: new Instances(database, broker) }],
    };
  }
}
