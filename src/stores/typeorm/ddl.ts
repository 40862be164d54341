import { COLUMNS, familyOf, sqlType } from './schema.js';
import type { DialectName, SqlType, TableNames } from './schema.js';

/**
 * Creates what is missing; every statement may be run again. The fence is a sequence, because a
 * counter in the row would start again after cleanup has removed the row. `sweep_at` has the
 * only index, and is set once: an index on what changes would cost PostgreSQL its heap-only updates.
 */
export function createStatements(dialect: DialectName, names: TableNames): string[] {
  const columns = COLUMNS.map(({ name, kind, nullable }) => {
    const type = typeText(sqlType(familyOf(dialect), kind));
    return `${name} ${type}${nullable ? '' : ' NOT NULL'}`;
  });
  const body = [...columns, 'PRIMARY KEY (id)'];
  const create = `CREATE TABLE IF NOT EXISTS ${names.table}`;
  const createIndex = `CREATE INDEX IF NOT EXISTS ${names.index} ON ${names.table} (sweep_at)`;
  switch (dialect) {
    case 'postgres':
      return [
        `CREATE SEQUENCE IF NOT EXISTS ${names.fence}`,
        // The free space lets an update stay on its page.
        `${create} (${body.join(', ')}) WITH (fillfactor = 80)`,
        createIndex,
      ];
    case 'mariadb':
    case 'mysql':
      return [
        dialect === 'mariadb'
          ? `CREATE SEQUENCE IF NOT EXISTS ${names.fence} ENGINE=InnoDB`
          : `CREATE TABLE IF NOT EXISTS ${names.fence} ` +
            `(id bigint NOT NULL AUTO_INCREMENT, PRIMARY KEY (id)) ENGINE=InnoDB`,
        `${create} (${[...body, `INDEX ${names.index} (sweep_at)`].join(', ')}) ENGINE=InnoDB`,
      ];
    case 'sqlite':
      return [
        `CREATE TABLE IF NOT EXISTS ${names.fence} (id integer PRIMARY KEY, value bigint NOT NULL)`,
        `INSERT OR IGNORE INTO ${names.fence} (id, value) VALUES (1, 0)`,
        `${create} (${body.join(', ')})`,
        createIndex,
      ];
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
