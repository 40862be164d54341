import type { ClaimRequest } from '../../../engine/store.js';
import { NEXT_ATTEMPT_SQL, claimState } from '../rows.js';
import type { Readers, Row } from '../rows.js';
import type { TableNames } from '../schema.js';
import { RecordSql, bytes, printable } from './record-sql.js';
import type { Handle, SqliteConnection } from './sqlite-connection.js';

/** SQLite, and the row of one record as it is read and written there. */
export class SqliteRows extends RecordSql {
  readonly readers: Readers = {
    hex: (column) => `lower(hex(${column}))`,
    text: (column) => `CAST(${column} AS TEXT)`,
  };

  constructor(
    private readonly connection: SqliteConnection,
    names: TableNames,
    clock?: string,
  ) {
    super(names, clock ?? `CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)`);
  }

  token(hex: string): Buffer {
    return Buffer.from(hex, 'hex');
  }

  text(text: string | null): string | null {
    return printable(text);
  }

  read(db: Handle, id: string): Row | undefined {
    return this.connection.prepare(db, this.lookSql).all(this.token(id))[0];
  }

  /** Over a row that is dead. */
  write(db: Handle, request: ClaimRequest): void {
    const { table, fence } = this.names;
    this.connection.prepare(db, `UPDATE ${fence} SET value = value + 1`).run();
    const sql = `
      INSERT INTO ${table} (id, owner, fingerprint, scope, operation, idempotency_key, fence,
        state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
      SELECT ?, ?, ?, ?, ?, ?, value, ?, 1, 0, ${this.now}, ${this.now} + ?, ${this.now} + ?,
        ${this.now} + ?
      FROM ${fence} WHERE true
      ON CONFLICT (id) DO UPDATE SET ${NEXT_ATTEMPT_SQL}, owner = excluded.owner,
        fingerprint = excluded.fingerprint, scope = excluded.scope,
        operation = excluded.operation, idempotency_key = excluded.idempotency_key,
        fence = excluded.fence, state = excluded.state, claimed_at = excluded.claimed_at,
        lease_until = excluded.lease_until, expires_at = excluded.expires_at, result = NULL`;
    const { id, owner, fingerprint, scope, operation, key, leaseMs, ttlMs } = request;
    const texts = [scope, operation, key].map(printable);
    const values = [this.token(id), this.token(owner), bytes(fingerprint), ...texts];
    this.connection.prepare(db, sql).run(...values, claimState(request), leaseMs, ttlMs, ttlMs);
  }
}
