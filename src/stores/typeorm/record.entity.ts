import { EntitySchema } from 'typeorm';
import type { ValueTransformer } from 'typeorm';
import type { RecordState } from '../../engine/store.js';
import { stateCode, stateName } from './rows.js';
import { COLUMNS, familyOf, sqlType, tableNames } from './schema.js';
import type { DialectName, TableOptions } from './schema.js';

/** A row of the store's table, for looking into it through a TypeORM repository. Do not write it. */
export class IdempotencyRecord {
  /** 32 hex digits, like `owner`. */
  id!: string;
  scope!: string | null;
  operation!: string | null;
  key!: string | null;
  fingerprint!: Uint8Array;
  state!: RecordState;
  owner!: string;
  fence!: bigint;
  attemptsStarted!: number;
  attemptsFinished!: number;
  /** Epoch milliseconds of the database's clock, like every time of the row. */
  claimedAt!: number;
  leaseUntil!: number | null;
  expiresAt!: number | null;
  /** Cleanup does not look at the row before. */
  sweepAt!: number;
  result!: Uint8Array | null;
  /** The results of finished steps, until there is an outcome. */
  steps!: Uint8Array | null;
}

/**
 * The entity of the store's table, for `entities` of a DataSource. The store works without it: it is
 * there for reading records through TypeORM, and for `synchronize` and generated migrations to know
 * the table.
 */
export function idempotencyRecord(
  type: 'better-sqlite3' | 'postgres' | 'mariadb' | 'mysql',
  options: TableOptions = {},
): EntitySchema<IdempotencyRecord> {
  const dialect: DialectName = type === 'better-sqlite3' ? 'sqlite' : type;
  const family = familyOf(dialect);
  const { table, schema, index, scopeIndex } = tableNames(dialect, options).plain;
  const columns = COLUMNS.map(({ name, property, kind, nullable }) => [
    property,
    {
      ...sqlType(family, kind),
      name,
      primary: name === 'id',
      nullable: nullable === true,
      transformer: transformer(property, family === 'postgres'),
    },
  ]);
  return new EntitySchema<IdempotencyRecord>({
    name: 'IdempotencyRecord',
    target: IdempotencyRecord,
    tableName: table,
    ...(family === 'postgres' ? { schema } : { database: schema }),
    columns: Object.fromEntries(columns),
    indices: [
      { name: index, columns: ['sweepAt'] },
      // of a kind that TypeORM cannot describe everywhere, and only where it was asked for
      { name: scopeIndex, columns: ['scope'], synchronize: false },
    ],
  });
}

function transformer(
  property: keyof IdempotencyRecord,
  uuid: boolean,
): ValueTransformer | undefined {
  switch (property) {
    case 'id':
    case 'owner':
      return {
        to: (hex: unknown) => (uuid || typeof hex !== 'string' ? hex : Buffer.from(hex, 'hex')),
        from: (value: string | Buffer) =>
          typeof value === 'string' ? value.replaceAll('-', '') : value?.toString('hex'),
      };
    case 'state':
      return {
        to: (state: unknown) =>
          typeof state === 'string' ? stateCode(state as RecordState) : state,
        from: (code: unknown) => stateName(code),
      };
    case 'fence':
      return {
        to: (fence: unknown) => (typeof fence === 'bigint' ? fence.toString() : fence),
        from: (value: string | number) => BigInt(value),
      };
    case 'claimedAt':
    case 'leaseUntil':
    case 'expiresAt':
    case 'sweepAt':
      return {
        to: (time: unknown) => time,
        from: (value: string | number | null) => (value === null ? null : Number(value)),
      };
    default:
      return undefined;
  }
}
