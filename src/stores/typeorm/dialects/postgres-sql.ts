import type { ClaimRequest } from '../../../engine/store.js';
import { literal } from '../postgres-text.js';
import { NEXT_ATTEMPT_SQL, claimState, isDeadSql, selectList } from '../rows.js';
import type { Readers } from '../rows.js';
import type { TableNames } from '../schema.js';
import { RecordSql, bytes, printable } from './record-sql.js';

/** PostgreSQL: 16-byte columns are UUIDs, and placeholders have numbers. */
export class PostgresSql extends RecordSql {
  readonly readers: Readers = {
    hex: (column) => `replace(${column}::text, '-', '')`,
    text: (column) => `${column}::text`,
  };

  constructor(names: TableNames, clock?: string) {
    // Not `now()`: that is the start of the transaction.
    super(names, clock ?? '(extract(epoch from clock_timestamp()) * 1000)::bigint');
  }

  token(hex: string): string {
    return hex;
  }

  text(text: string | null): string | null {
    return printable(text);
  }

  override placed(sql: string): string {
    let position = 0;
    return sql.replaceAll('?', () => `$${++position}`);
  }

  /** The columns of `r`, by the time that `clock` has. */
  get columnsAtClock(): string {
    return selectList(this.readers, 'clock.now', { prefix: 'r.' });
  }

  /** What only one session at a time does to this table. */
  get lockKey(): string {
    return `hashtextextended(${literal(`idempotency ${this.names.table}`)}, 0)`;
  }

  claimParameters(request: ClaimRequest): unknown[] {
    const { id, owner, fingerprint, scope, operation, key, leaseMs, ttlMs } = request;
    const texts = [scope, operation, key].map(printable);
    return [id, owner, bytes(fingerprint), ...texts, leaseMs, ttlMs, claimState(request)];
  }

  /** Parameters: those of a claim, and the owner that was seen. */
  get takeOverSql(): string {
    const { table, fence } = this.names;
    // The update is wrapped because TypeORM answers a bare one with more than its rows.
    return `
      WITH clock AS MATERIALIZED (SELECT ${this.now} AS now),
      updated AS (
        UPDATE ${table} SET owner = $2::uuid, fingerprint = $3::bytea, scope = $4::text,
          operation = $5::text, idempotency_key = $6::text, fence = nextval(${literal(fence)}),
          state = $9::smallint, ${NEXT_ATTEMPT_SQL}, claimed_at = now, lease_until = now + $7::bigint,
          expires_at = now + $8::bigint, result = NULL
        FROM clock WHERE id = $1::uuid AND owner = $10::uuid AND ${isDeadSql('now')}
        RETURNING ${table}.*
      )
      SELECT clock.now, pg_current_xact_id_if_assigned()::text AS xact, ${this.columnsAtClock}
      FROM updated r, clock`;
  }
}
