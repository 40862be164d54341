import { COLUMNS, familyOf, sqlType } from './schema.js';
import type { DialectName, SqlType, TableNames } from './schema.js';

/**
 * Creates what is missing; every statement may be run again. The fence is a sequence, because a
 * counter in the row would start again after cleanup has removed the row. `sweep_at` has an
 * index, and is set once, like `scope`: an index on what changes would cost PostgreSQL its heap-only updates.
 */
export function createStatements(dialect: DialectName, names: TableNames): string[] {
  const columns = COLUMNS.map(({ name, kind, nullable }) => {
    const type = typeText(sqlType(familyOf(dialect), kind));
    return `${name} ${type}${nullable ? '' : ' NOT NULL'}`;
  });
  const body = [...columns, 'PRIMARY KEY (id)'];
  const create = `CREATE TABLE IF NOT EXISTS ${names.table}`;
  const createIndex = `CREATE INDEX IF NOT EXISTS ${names.index} ON ${names.table} (sweep_at)`;
  const byScope = scopeIndexStatements(dialect, names);
  const indexes = [
    `INDEX ${names.index} (sweep_at)`,
    ...(names.scopeIndex ? [`INDEX ${names.scopeIndex.name} (${SCOPE_PREFIX})`] : []),
  ];
  switch (dialect) {
    case 'postgres':
      return [
        `CREATE SEQUENCE IF NOT EXISTS ${names.fence}`,
        // The free space lets an update stay on its page.
        `${create} (${body.join(', ')}) WITH (fillfactor = 80)`,
        createIndex,
        ...byScope,
      ];
    case 'mariadb':
    case 'mysql':
      return [
        dialect === 'mariadb'
          ? `CREATE SEQUENCE IF NOT EXISTS ${names.fence} ENGINE=InnoDB`
          : `CREATE TABLE IF NOT EXISTS ${names.fence} ` +
            `(id bigint NOT NULL AUTO_INCREMENT, PRIMARY KEY (id)) ENGINE=InnoDB`,
        `${create} (${[...body, ...indexes].join(', ')}) ENGINE=InnoDB`,
        // MySQL cannot be asked to add only what is missing
        ...(dialect === 'mariadb' ? byScope : []),
      ];
    case 'sqlite':
      return [
        `CREATE TABLE IF NOT EXISTS ${names.fence} (id integer PRIMARY KEY, value bigint NOT NULL)`,
        `INSERT OR IGNORE INTO ${names.fence} (id, value) VALUES (1, 0)`,
        `${create} (${body.join(', ')})`,
        createIndex,
        ...byScope,
      ];
  }
}

/** Longer ids are told apart by the rows themselves. */
const SCOPE_PREFIX = 'scope(64)';

export function scopeIndexStatements(
  dialect: DialectName,
  { table, scopeIndex }: TableNames,
): string[] {
  if (scopeIndex === undefined) return [];
  const ifMissing = dialect === 'mysql' ? '' : ' IF NOT EXISTS';
  const create = `CREATE INDEX${ifMissing} ${scopeIndex.name} ON ${table}`;
  switch (dialect) {
    case 'postgres':
      // takes scopes of any length
      return [`${create} USING hash (scope)`];
    case 'mariadb':
    case 'mysql':
      return [`${create} (${SCOPE_PREFIX})`];
    case 'sqlite':
      return [`${create} (scope)`];
  }
}

export function dropScopeIndexStatements(
  dialect: DialectName,
  { table, scopeIndex }: TableNames,
): string[] {
  if (scopeIndex === undefined) return [];
  switch (dialect) {
    case 'postgres':
    case 'sqlite':
      return [`DROP INDEX IF EXISTS ${scopeIndex.path}`];
    case 'mariadb':
      return [`DROP INDEX IF EXISTS ${scopeIndex.name} ON ${table}`];
    case 'mysql':
      return [`DROP INDEX ${scopeIndex.name} ON ${table}`];
  }
}

export function dropStatements(dialect: DialectName, names: TableNames): string[] {
  const kind = dialect === 'postgres' || dialect === 'mariadb' ? 'SEQUENCE' : 'TABLE';
  return [`DROP TABLE IF EXISTS ${names.table}`, `DROP ${kind} IF EXISTS ${names.fence}`];
}

function typeText({ type, length, charset, collation }: SqlType): string {
  const size = length === undefined ? '' : `(${length})`;
  return type + size + (charset ? ` CHARACTER SET ${charset} COLLATE ${collation}` : '');
}
