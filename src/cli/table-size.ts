import type { DataSource } from 'typeorm';
import { withSchemaOf } from '../stores/typeorm/dialects/create-dialect.js';
import { tableNames, type TableOptions } from '../stores/typeorm/schema.js';

export interface TableSize {
  readonly tableBytes: number;
  readonly indexBytes: number;
}

/** What the table takes on disk, where the database can say so; MySQL and MariaDB estimate. */
export async function tableSize(
  dataSource: DataSource,
  store: string,
  options: TableOptions,
): Promise<TableSize | null> {
  const where = withSchemaOf(dataSource, options);
  switch (store) {
    case 'postgres':
      return sizeIn(
        await dataSource.query(
          'SELECT sum(pg_table_size(part)) AS table_bytes, sum(pg_indexes_size(part)) AS index_bytes FROM ' +
            '(SELECT $1::regclass AS part UNION SELECT relid FROM pg_partition_tree($1::regclass)) parts',
          [tableNames('postgres', where).table],
        ),
      );
    case 'mariadb':
    case 'mysql': {
      const { table, schema = null } = tableNames(store, where).plain;
      return sizeIn(
        await dataSource.query(
          'SELECT data_length AS table_bytes, index_length AS index_bytes FROM information_schema.tables ' +
            'WHERE table_schema = coalesce(?, database()) AND table_name = ?',
          [schema, table],
        ),
      );
    }
    default:
      return null;
  }
}

function sizeIn(rows: unknown): TableSize | null {
  const [row] = rows as { table_bytes: string | number; index_bytes: string | number }[];
  return row === undefined
    ? null
    : { tableBytes: Number(row.table_bytes), indexBytes: Number(row.index_bytes) };
}
