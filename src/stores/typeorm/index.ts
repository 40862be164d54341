export { typeOrmStore } from './store-definition.js';
export type { TypeOrmStoreOptions } from './store-definition.js';
export { entityManagerOf } from './entity-manager-of.js';
export { TypeOrmStore } from './typeorm.store.js';
export { IdempotencyRecord, idempotencyRecord } from './record.entity.js';
export {
  CreateIdempotencyRecord1764000000000,
  DivideIdempotencyByDay1764000000003,
  IndexIdempotencyScope1764000000002,
  idempotencyMigrations,
} from './migration.js';
export type { MigrationOptions } from './migration.js';
export type { TableOptions } from './schema.js';
