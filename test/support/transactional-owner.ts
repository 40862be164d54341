/**
 * A process that runs one transactional operation at a time, each until it is told to go on: the parent
 * sends `{ key }`, hears `inside` once the first entry is written, and `{ value }` or `{ error }` at the end.
 */
import 'reflect-metadata';
import { once } from 'node:events';
import { NestFactory } from '@nestjs/core';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { IdempotencyModule } from '../../src/idempotency.module.js';
import { IdempotencyService } from '../../src/idempotency.service.js';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import type { DialectName } from '../../src/stores/typeorm/schema.js';

export interface Owner {
  readonly dataSource: DataSourceOptions;
  readonly dialect?: DialectName;
  readonly lease: `${number}s`;
  readonly onConcurrent: 'reject' | 'wait';
  readonly attempts?: { readonly max: number };
}

const { dialect, lease, onConcurrent, attempts, ...given } = JSON.parse(process.argv[2]!) as Owner;
const dataSource = await new DataSource(given.dataSource).initialize();
const store = new TypeOrmStore(dataSource, dialect === undefined ? {} : { dialect });
const app = await NestFactory.createApplicationContext(
  IdempotencyModule.forRoot({
    store,
    mode: 'transactional',
    cleanup: false,
    lease,
    onConcurrent,
    ...(attempts !== undefined && { attempts }),
  }),
  { logger: false },
);
const service = app.get(IdempotencyService);

const insert = (name: string) => dataSource.query(`INSERT INTO entry (name) VALUES ('${name}')`);

process.on('message', ({ key }: { key?: string }) => {
  if (key === undefined) return;
  const running = service.execute({ key }, async () => {
    await insert(`${key}-1`);
    process.send!('inside');
    const [{ fails, exits }] = (await once(process, 'message')) as [
      { fails?: boolean; exits?: boolean },
    ];
    if (exits === true) process.exit(1);
    await insert(`${key}-2`);
    if (fails === true) throw new Error('told to fail');
    return process.pid;
  });
  running.then(
    (value) => process.send!({ value }),
    (error: { code?: string; message: string }) =>
      process.send!({ error: error.code ?? error.message }),
  );
});
process.on('disconnect', () => void app.close().then(() => dataSource.destroy()));
process.send!('ready');
