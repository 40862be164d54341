import { Test } from '@nestjs/testing';
import { IdempotencyModule, IdempotencyService, memoryStore } from 'nestjs-idempotency';
import { typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDialect } from './databases.js';

export type TestStore = TestDialect | 'memory';

/** Those of the given stores whose servers are there. */
export function availableStores(...wanted: readonly TestStore[]): TestStore[] {
  const dialects = availableDialects();
  return wanted.filter((store) => store === 'memory' || dialects.includes(store));
}

/** An application that has the service and nothing else. */
export interface ServiceApp {
  readonly service: IdempotencyService;
  /** Undefined for the store in memory. */
  readonly dataSource: DataSource | undefined;
  close(): Promise<void>;
}

export async function startServiceApp(store: TestStore): Promise<ServiceApp> {
  const database = store === 'memory' ? undefined : await createTestDatabase(store);
  const dataSource = await database?.open({ synchronize: true });
  const { close, ...app } = await startServiceOn(dataSource);
  return {
    ...app,
    async close() {
      await close();
      await database?.drop();
    },
  };
}

/** @param dataSource without it, records are in memory */
export async function startServiceOn(dataSource?: DataSource): Promise<ServiceApp> {
  const app = await Test.createTestingModule({
    imports: [
      IdempotencyModule.forRoot({
        store: dataSource ? typeOrmStore({ dataSource }) : memoryStore(),
      }),
    ],
  }).compile();
  await app.init();
  return { service: app.get(IdempotencyService), dataSource, close: () => app.close() };
}
