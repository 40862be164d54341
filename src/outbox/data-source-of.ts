import { Logger } from '@nestjs/common';
import type { ModuleRef } from '@nestjs/core';
import { getDataSourceToken } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import type { IdempotencyStore } from '../engine/store.js';
import { IDEMPOTENCY_STORE } from '../idempotency.constants.js';
import { misconfigured } from '../options-check.js';
import { TypeOrmStore } from '../stores/typeorm/typeorm.store.js';

/**
 * The DataSource that was chosen, or that of the store.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` where there is none.
 */
export function dataSourceOf(
  moduleRef: ModuleRef,
  chosen: string | DataSource | undefined,
): DataSource {
  const stores = storesDataSource(moduleRef);
  if (chosen === undefined && stores !== undefined) {
    return stores;
  }
  const dataSource =
    typeof chosen === 'object' ? chosen : find(moduleRef, getDataSourceToken(chosen), chosen);
  if (stores !== undefined && dataSource !== stores) {
    new Logger('Idempotency').warn(
      'The outbox is not in the DataSource of the idempotency store: messages of transactional operations are ' +
        'written by themselves, and stay when the operation is rolled back.',
    );
  }
  return dataSource;
}

function storesDataSource(moduleRef: ModuleRef): DataSource | undefined {
  const store = moduleRef.get<IdempotencyStore>(IDEMPOTENCY_STORE, { strict: false });
  return store instanceof TypeOrmStore ? store.source() : undefined;
}

function find(
  moduleRef: ModuleRef,
  token: ReturnType<typeof getDataSourceToken>,
  chosen: string | undefined,
): DataSource {
  try {
    return moduleRef.get<DataSource>(token, { strict: false });
  } catch {
    throw misconfigured(
      'OutboxModule',
      `there is no ${chosen === undefined ? 'default DataSource' : `DataSource '${chosen}'`} to keep messages ` +
        'in. Import TypeOrmModule.forRoot({ … }), or name another one with dataSource.',
    );
  }
}
