import { dailyLayout, partitionsSql } from '../daily-partitions.js';
import type { DailyLayout } from '../daily-partitions.js';
import type { NamedStatements } from '../named-statements.js';
import { literal } from '../postgres-text.js';
import type { Row } from '../rows.js';
import type { PostgresSql } from './postgres-sql.js';

/** Whether the table is divided, as it was when somebody last looked. */
export class PostgresLayout {
  /** What clean-up deletes rows by. Their place is the cheapest, but rows of two partitions may have the same. */
  handle: 'ctid' | 'id' = 'ctid';
  daily: DailyLayout | undefined;

  constructor(
    private readonly sql: PostgresSql,
    private readonly statements: NamedStatements,
  ) {}

  /** Somebody may divide the table while the application runs. */
  async look(): Promise<DailyLayout | undefined> {
    const sql = partitionsSql(`${literal(this.sql.names.table)}::regclass`);
    const rows = await this.statements.query<Row[]>(sql, []);
    this.handle = rows.length > 0 ? 'id' : 'ctid';
    this.daily = dailyLayout(rows);
    this.statements.isForValues = this.daily !== undefined;
    return this.daily;
  }

  /** Said once more for a plan that opens only the partitions of these ids, the first parameter. */
  get among(): string {
    return this.daily === undefined ? '' : 'AND r.id = ANY ($1::uuid[])';
  }
}
