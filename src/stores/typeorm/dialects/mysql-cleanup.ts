import type { DataSource } from 'typeorm';
import { isDueSql } from '../rows.js';
import type { Row } from '../rows.js';
import { TEXT, lockName } from './mysql-sql.js';
import type { Affected, MySqlSql } from './mysql-sql.js';

type Query = <T>(sql: string, parameters: unknown[]) => Promise<T>;

const LOCK_NAME = lockName(TEXT);

/**
 * One instance at a time. The rows are looked for without locks and deleted by their ids: a
 * `DELETE` that searches locks the gaps it walks through, and new claims would wait for it.
 */
export class MySqlCleanup {
  constructor(
    private readonly dataSource: DataSource,
    private readonly sql: MySqlSql,
  ) {}

  async deleteExpired(limit: number): Promise<number> {
    const runner = this.dataSource.createQueryRunner('master');
    const query: Query = async <T>(sql: string, parameters: unknown[]) =>
      (await runner.query(sql, parameters)) as T;
    const name = Buffer.from(this.sql.names.table);
    try {
      const [turn] = await query<Row[]>(`SELECT GET_LOCK(${LOCK_NAME}, 0) AS ours`, [name]);
      if (Number(turn?.ours) !== 1) return 0;
      try {
        return await this.deleteBatch(query, limit);
      } finally {
        await runner.query(`SELECT RELEASE_LOCK(${LOCK_NAME})`, [name]);
      }
    } finally {
      await runner.release();
    }
  }

  private async deleteBatch(query: Query, limit: number): Promise<number> {
    const { table } = this.sql.names;
    const due = isDueSql(this.sql.now);
    const rows = await query<Row[]>(
      `SELECT id FROM ${table} WHERE ${due} ORDER BY sweep_at LIMIT ?`,
      [limit],
    );
    if (!this.sql.hasSequence) await this.trimFence(query);
    if (rows.length === 0) return 0;
    const ids = rows.map((row) => row.id);
    const list = ids.map(() => '?').join(', ');
    const sql = `DELETE FROM ${table} WHERE id IN (${list}) AND ${due}`;
    return (await query<Affected>(sql, ids)).affectedRows;
  }

  /** Every claim leaves a row in the fence. The newest stays: older servers forget the counter. */
  private async trimFence(query: Query): Promise<void> {
    const { fence } = this.sql.names;
    const [row] = await query<Row[]>(`SELECT CAST(MAX(id) AS CHAR) AS newest FROM ${fence}`, []);
    const sql = `DELETE FROM ${fence} WHERE id < ? ORDER BY id LIMIT 100000`;
    if (row?.newest) await query(sql, [row.newest]);
  }
}
