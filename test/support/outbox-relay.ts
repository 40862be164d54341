/**
 * A process with a relay: it tells its parent of every message that it sends, and does not come to an end with those
 * whose payload is 'hang'.
 */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { IdempotencyModule } from '../../src/idempotency.module.js';
import { OutboxModule } from '../../src/outbox/outbox.module.js';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';

export interface Relay {
  readonly dataSource: DataSourceOptions;
  readonly lease: number;
  /** How often a message may be tried. */
  readonly max: number;
}

const { dataSource: options, lease, max } = JSON.parse(process.argv[2]!) as Relay;
const dataSource = await new DataSource(options).initialize();
const app = await NestFactory.createApplicationContext(
  {
    module: class Root {},
    imports: [
      IdempotencyModule.forRoot({ store: new TypeOrmStore(dataSource), cleanup: false }),
      OutboxModule.forRoot({
        sinks: {
          default: async ({ id, payload, attempt }) => {
            process.send!({ id, payload, attempt });
            if (payload === 'hang') await new Promise(() => undefined);
          },
        },
        lease,
        pollInterval: 50,
        attempts: { max, backoff: 10 },
      }),
    ],
  },
  { logger: false },
);
process.on('disconnect', () => void app.close().then(() => dataSource.destroy()));
process.send!('ready');
