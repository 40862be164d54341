/**
 * One of several processes that run the same operations at once: the parent sends keys, and hears for each of them
 * what the operation answered, or the error.
 */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { IdempotencyModule } from '../../src/idempotency.module.js';
import { IdempotencyService } from '../../src/idempotency.service.js';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';

export interface DailyOwner {
  readonly dataSource: DataSourceOptions;
}

export interface DailyKey {
  readonly key: string;
  readonly mode: 'lease' | 'transactional';
}

export interface DailyAnswer {
  readonly key: string;
  readonly value?: string;
  readonly error?: string;
}

const given = JSON.parse(process.argv[2]!) as DailyOwner;
const dataSource = await new DataSource(given.dataSource).initialize();
const app = await NestFactory.createApplicationContext(
  IdempotencyModule.forRoot({
    store: new TypeOrmStore(dataSource, { clock: '(SELECT ms FROM test_clock)' }),
    cleanup: false,
    // the clock goes by days
    lease: '10d',
    maxDuration: '10d',
    ttl: '20d',
    expiredKeys: 'rerun',
    onConcurrent: 'wait',
    waitTimeout: '20s',
  }),
  { logger: ['error', 'warn'] },
);
const service = app.get(IdempotencyService);

async function run({ key, mode }: DailyKey): Promise<DailyAnswer> {
  try {
    const value = await service.execute({ key, mode }, async () => {
      await dataSource.query('INSERT INTO effect (key, process) VALUES ($1, $2)', [
        key,
        process.pid,
      ]);
      return `${key} by ${process.pid}`;
    });
    return { key, value: String(value) };
  } catch (error) {
    const { code, message, cause } = error as Error & { code?: string };
    return { key, error: `${code}: ${message} ${String((cause as Error | undefined)?.message)}` };
  }
}

process.on('message', (keys: DailyKey[]) => {
  void Promise.all(keys.map(run)).then((answers) => process.send!(answers));
});
process.on('disconnect', () => void app.close().then(() => dataSource.destroy()));
process.send!('ready');
