import { ModuleRef } from '@nestjs/core';
import type { IdempotencyStore } from './engine/store.js';
import type { StoreDefinition } from './idempotency.options.js';
import { misconfigured } from './options-check.js';

const CHOICES =
  'Import TypeOrmModule.forRoot({ … }) so that there is a default DataSource, name another one with ' +
  "store: typeOrmStore({ dataSource: 'name' }) from 'nestjs-idempotency/typeorm', or pass store: " +
  "redisStore({ client }) from 'nestjs-idempotency/redis', or, in tests, store: memoryStore().";

/** `typeOrmStore()` on the default DataSource. TypeORM is loaded only when nobody chose another store. */
export const defaultStore: StoreDefinition = {
  inject: [ModuleRef],
  useFactory: async (moduleRef: ModuleRef): Promise<IdempotencyStore> => {
    const { TypeOrmStore, DataSource } = await loadTypeOrm();
    // looked up when the store starts: the DataSource may still be connecting now
    return new TypeOrmStore(() => {
      try {
        return moduleRef.get(DataSource, { strict: false });
      } catch {
        throw misconfigured(
          'IdempotencyModule',
          `there is no default DataSource to keep records in. ${CHOICES}`,
        );
      }
    });
  },
};

async function loadTypeOrm() {
  try {
    const { TypeOrmStore } = await import('./stores/typeorm/typeorm.store.js');
    const { DataSource } = await import('typeorm');
    return { TypeOrmStore, DataSource };
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') {
      throw error;
    }
    throw misconfigured(
      'IdempotencyModule',
      `no store was chosen, and typeorm is not installed. Install typeorm and @nestjs/typeorm. ${CHOICES}`,
    );
  }
}
