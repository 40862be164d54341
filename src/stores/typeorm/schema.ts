import type { ColumnType } from 'typeorm';
import { IdempotencyError } from '../../engine/errors.js';
import { quoting } from './quoting.js';
import type { IdempotencyRecord } from './record.entity.js';

export type DialectName = 'postgres' | 'mariadb' | 'mysql' | 'sqlite';
export type Family = 'postgres' | 'mysql' | 'sqlite';

export interface TableOptions {
  /**
   * Name of the table. `<table>_fence`, `<table>_sweep` and `<table>_scope` are taken as well.
   * @default 'idempotency_record'
   */
  readonly table?: string;
  /**
   * The PostgreSQL schema, or the database on MySQL and MariaDB. Not for SQLite.
   * @default the one of the DataSource
   */
  readonly schema?: string;
  /**
   * An index on `scope`, for `maxKeysPerScope`.
   * @default false
   */
  readonly scopeIndex?: boolean;
}

export interface SqlType {
  readonly type: ColumnType & string;
  readonly length?: number;
  readonly charset?: string;
  readonly collation?: string;
}

type Kind = 'token' | 'text' | 'digest' | 'code' | 'count' | 'number' | 'bytes';

interface Column {
  readonly name: string;
  readonly property: keyof IdempotencyRecord;
  readonly kind: Kind;
  readonly nullable?: true;
}

/**
 * The one description of the table: the migration, `synchronize` and the entity all come from it.
 * Times are epoch milliseconds of the database's clock, so that no time zone or driver shifts them.
 */
export const COLUMNS: readonly Column[] = [
  { name: 'id', property: 'id', kind: 'token' },
  { name: 'scope', property: 'scope', kind: 'text', nullable: true },
  { name: 'operation', property: 'operation', kind: 'text', nullable: true },
  { name: 'idempotency_key', property: 'key', kind: 'text', nullable: true },
  { name: 'fingerprint', property: 'fingerprint', kind: 'digest' },
  { name: 'state', property: 'state', kind: 'code' },
  { name: 'owner', property: 'owner', kind: 'token' },
  { name: 'fence', property: 'fence', kind: 'number' },
  { name: 'attempts_started', property: 'attemptsStarted', kind: 'count' },
  { name: 'attempts_finished', property: 'attemptsFinished', kind: 'count' },
  { name: 'claimed_at', property: 'claimedAt', kind: 'number' },
  { name: 'lease_until', property: 'leaseUntil', kind: 'number', nullable: true },
  { name: 'expires_at', property: 'expiresAt', kind: 'number', nullable: true },
  { name: 'sweep_at', property: 'sweepAt', kind: 'number' },
  { name: 'result', property: 'result', kind: 'bytes', nullable: true },
  { name: 'steps', property: 'steps', kind: 'bytes', nullable: true },
];

const EXACT_TEXT = { type: 'text', charset: 'utf8mb4', collation: 'utf8mb4_bin' } as const;

const TYPES: Record<Family, Record<Kind, SqlType>> = {
  postgres: {
    token: { type: 'uuid' },
    text: { type: 'text' },
    digest: { type: 'bytea' },
    code: { type: 'smallint' },
    count: { type: 'integer' },
    number: { type: 'bigint' },
    bytes: { type: 'bytea' },
  },
  mysql: {
    token: { type: 'binary', length: 16 },
    text: EXACT_TEXT,
    digest: { type: 'varbinary', length: 32 },
    code: { type: 'smallint' },
    count: { type: 'int' },
    number: { type: 'bigint' },
    bytes: { type: 'longblob' },
  },
  sqlite: {
    token: { type: 'blob' },
    text: { type: 'text' },
    digest: { type: 'blob' },
    code: { type: 'smallint' },
    count: { type: 'integer' },
    number: { type: 'bigint' },
    bytes: { type: 'blob' },
  },
};

export function sqlType(family: Family, kind: Kind): SqlType {
  return TYPES[family][kind];
}

export function familyOf(dialect: DialectName): Family {
  return dialect === 'mariadb' ? 'mysql' : dialect;
}

/** Quoted names, ready to stand in a statement. */
export interface TableNames {
  readonly table: string;
  readonly fence: string;
  /** In PostgreSQL an index lives in its table's schema and is created without naming it. */
  readonly index: string;
  /** The index on scope, if there is to be one: as it is created, and as it is dropped. */
  readonly scopeIndex?: { readonly name: string; readonly path: string };
  /** The bare names, for messages and for the entity. */
  readonly plain: {
    readonly table: string;
    readonly schema?: string;
    readonly index: string;
    readonly scopeIndex: string;
  };
}

export function tableNames(
  dialect: DialectName,
  { table = 'idempotency_record', schema, scopeIndex = false }: TableOptions,
): TableNames {
  checkName('table', table);
  if (schema !== undefined) {
    checkName('schema', schema);
    if (dialect === 'sqlite') {
      throw misconfigured('SQLite has no schemas. Remove `schema` from the options of the store.');
    }
  }
  const { quoted, path } = quoting(dialect, schema);
  const index = `${table}_sweep`;
  const byScope = `${table}_scope`;
  return {
    table: path(table),
    fence: path(`${table}_fence`),
    index: quoted(index),
    ...(scopeIndex && {
      scopeIndex: { name: quoted(byScope), path: path(byScope) },
    }),
    plain: { table, index, scopeIndex: byScope, ...(schema === undefined ? {} : { schema }) },
  };
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an unknown option, or one that is no text. */
export function checkTableOptions(where: string, options: object, known: string[]): void {
  for (const [name, value] of Object.entries(options)) {
    if (!known.includes(name)) {
      throw misconfigured(
        `${where}: there is no option '${name}'. Write one of: ${known.join(', ')}.`,
      );
    }
    if (name === 'scopeIndex' || name === 'dailyPartitions') {
      if (value !== undefined && typeof value !== 'boolean') {
        throw misconfigured(`${where}: option '${name}' is no answer. Write true or false.`);
      }
      continue;
    }
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw misconfigured(`${where}: option '${name}' is no name. Write a string.`);
    }
  }
}

/** PostgreSQL cuts names at 63 bytes without a word, and ours get a suffix of 10 at most. */
const LONGEST_NAME = 53;

function checkName(what: string, name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > LONGEST_NAME) {
    throw misconfigured(
      `The ${what} name of the store must be 1 to ${LONGEST_NAME} bytes long; it is ${bytes}.`,
    );
  }
  // A `?` would be taken for a parameter, even between quotes.
  if (/[\0?]/.test(name)) {
    throw misconfigured(`The ${what} name of the store must not contain NUL or a question mark.`);
  }
}

export function misconfigured(message: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError('IDEMPOTENCY_MISCONFIGURED', message, cause ? { cause } : {});
}
