/** A process that works on a queue: it tells its parent when a job has begun, and never comes to an end with it. */
import 'reflect-metadata';
import { BullModule, Processor, WorkerHost } from '@nestjs/bullmq';
import { NestFactory } from '@nestjs/core';
import type { Job } from 'bullmq';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { IdempotentJob } from '../../src/bullmq/index.js';
import { IdempotencyModule } from '../../src/idempotency.module.js';
import { currentIdempotency } from '../../src/methods/current-idempotency.js';
import { entityManagerOf } from '../../src/stores/typeorm/index.js';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';

export interface JobWorker {
  readonly dataSource: DataSourceOptions;
  readonly connection: { readonly host: string; readonly port: number };
  readonly prefix: string;
  readonly queue: string;
  readonly mode: 'lease' | 'transactional';
  readonly lease: number;
}

const given = JSON.parse(process.argv[2]!) as JobWorker;
const dataSource = await new DataSource(given.dataSource).initialize();

@Processor(given.queue, { lockDuration: 1_000, stalledInterval: 200 })
class PayoutProcessor extends WorkerHost {
  @IdempotentJob({ mode: given.mode, lease: given.lease })
  override async process(_job: Job): Promise<void> {
    if (given.mode === 'transactional') {
      await entityManagerOf(currentIdempotency()).query("INSERT INTO paid VALUES ('by the dead')");
    }
    process.send!('running');
    await new Promise(() => undefined);
  }
}

await NestFactory.createApplicationContext(
  {
    module: class Root {},
    imports: [
      IdempotencyModule.forRoot({ store: new TypeOrmStore(dataSource), cleanup: false }),
      BullModule.forRoot({ connection: given.connection, prefix: given.prefix }),
      BullModule.registerQueue({ name: given.queue }),
    ],
    providers: [PayoutProcessor],
  },
  { logger: false },
);
process.on('disconnect', () => process.exit());
