import type { ClaimRequest } from '../../../engine/store.js';
import { NEXT_ATTEMPT_SQL, claimState, isDeadSql } from '../rows.js';
import type { Readers } from '../rows.js';
import type { TableNames } from '../schema.js';
import { RecordSql, bytes } from './record-sql.js';

/** Bound as bytes: the text then is safe and exact under any `sql_mode` and connection charset. */
export const TEXT = 'CONVERT(? USING utf8mb4)';

/** Names of locks are global to the server, and at most 64 characters long. */
export function lockName(of: string): string {
  return `CONCAT('idempotency ', SHA1(CONCAT_WS('.', DATABASE(), ${of})))`;
}

/** MySQL, where what is compared and stored exactly is bytes. */
export class MySqlSql extends RecordSql {
  readonly readers: Readers = {
    hex: (column) => `LOWER(HEX(${column}))`,
    text: (column) => `CAST(${column} AS CHAR)`,
  };
  /** Otherwise the fence is a table, and a row has to be written for every number that is drawn. */
  readonly hasSequence: boolean = false;
  /** The next number of the fence, as an expression; without a sequence it was drawn on the same connection before. */
  readonly nextFence: string = 'LAST_INSERT_ID()';
  /** Before a statement that fails where it would have to wait for a row. MySQL has no words for it. */
  readonly withoutWaiting: string = '';

  constructor(names: TableNames, clock?: string) {
    // In UTC: in a session's own time zone an hour is missing, or there twice, at a clock change.
    const now = `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)`;
    super(names, clock ?? now);
  }

  token(hex: string): Buffer {
    return Buffer.from(hex, 'hex');
  }

  text(text: string | null): Buffer | null {
    return text === null ? null : Buffer.from(text);
  }

  /** Parameters: those of `insertParameters`. */
  get insertSql(): string {
    return `${this.insertIntoSql} ${this.rowSql(this.nextFence)}`;
  }

  get insertIntoSql(): string {
    return `
      INSERT INTO ${this.names.table} (id, owner, fingerprint, scope, operation, idempotency_key,
        fence, state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at,
        sweep_at) VALUES`;
  }

  rowSql(nextFence: string): string {
    return `(?, ?, ?, ${TEXT}, ${TEXT}, ${TEXT},
        ${nextFence}, ?, 1, 0, ${this.now}, ${this.now} + ?, ${this.now} + ?, ${this.now} + ?)`;
  }

  insertParameters(request: ClaimRequest): unknown[] {
    const { id, leaseMs, ttlMs } = request;
    const named = this.claimParameters(request);
    return [this.token(id), ...named, claimState(request), leaseMs, ttlMs, ttlMs];
  }

  /** Assignments run from left to right, so the counts come before the state they look at. */
  takeOverSql(seenOwner: string): string {
    return `
      UPDATE ${this.names.table} SET ${NEXT_ATTEMPT_SQL}, owner = ?, fingerprint = ?,
        scope = ${TEXT}, operation = ${TEXT}, idempotency_key = ${TEXT},
        fence = ${this.nextFence}, claimed_at = ${this.now}, result = NULL,
        lease_until = ${this.now} + ?, expires_at = ${this.now} + ?, state = ?
      WHERE id = ? AND owner = ${seenOwner} AND ${isDeadSql(this.now)}`;
  }

  takeOverParameters(request: ClaimRequest): unknown[] {
    const { id, leaseMs, ttlMs } = request;
    const named = this.claimParameters(request);
    return [...named, leaseMs, ttlMs, claimState(request), this.token(id)];
  }

  private claimParameters(request: ClaimRequest): unknown[] {
    const { owner, fingerprint, scope, operation, key } = request;
    const texts = [scope, operation, key].map((text) => this.text(text));
    return [this.token(owner), bytes(fingerprint), ...texts];
  }
}

export class MariaDbSql extends MySqlSql {
  override readonly hasSequence = true;
  override readonly nextFence = `NEXTVAL(${this.names.fence})`;
  override readonly withoutWaiting = 'SET STATEMENT innodb_lock_wait_timeout = 0 FOR ';
}

/** What the driver answers to everything but a query. */
export interface Affected {
  readonly affectedRows: number;
}
