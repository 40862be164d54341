import type { DataSource } from 'typeorm';
import { getDataSourceToken } from '@nestjs/typeorm';
import type { StoreDefinition } from '../../../src/idempotency.options.js';
import { TypeOrmStore } from '../../../src/stores/typeorm/index.js';
import { commitThenComplete } from './commit-then-complete.js';
import { getThenSet } from './get-then-set.js';
import { noOwnerCheck } from './no-owner-check.js';

/** The library with one thing left out that it promises to do. */
const badStores = {
  'commit-then-complete': commitThenComplete,
  'get-then-set': getThenSet,
  'no-owner-check': noOwnerCheck,
};

export type BadVariant = keyof typeof badStores;

export function badStore(variant: BadVariant): StoreDefinition {
  return {
    inject: [getDataSourceToken()],
    useFactory: (dataSource: DataSource) =>
      badStores[variant](new TypeOrmStore(dataSource), dataSource),
  };
}
