import { getDataSourceToken } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import type { StoreDefinition } from '../../idempotency.options.js';
import type { TableOptions } from './schema.js';
import { checkTableOptions } from './schema.js';
import { TypeOrmStore } from './typeorm.store.js';

export interface TypeOrmStoreOptions extends TableOptions {
  /**
   * The DataSource, or the name it has in `TypeOrmModule.forRoot({ name })`.
   * @default 'default'
   */
  readonly dataSource?: string | DataSource;
}

/**
 * The store in the application's own database, for `store` of `IdempotencyModule.forRoot()`.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an unknown option.
 */
export function typeOrmStore({
  dataSource = 'default',
  ...options
}: TypeOrmStoreOptions = {}): StoreDefinition {
  checkTableOptions('typeOrmStore()', options, ['dataSource', 'table', 'schema', 'scopeIndex']);
  if (typeof dataSource !== 'string') {
    return { useFactory: () => new TypeOrmStore(dataSource, options) };
  }
  return {
    inject: [getDataSourceToken(dataSource)],
    useFactory: (injected: DataSource) => new TypeOrmStore(injected, options),
  };
}
