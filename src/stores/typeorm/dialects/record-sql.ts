import type { ClaimRequest, CompleteRequest } from '../../../engine/store.js';
import { isOwnedSql, selectList, stateCode } from '../rows.js';
import type { Readers } from '../rows.js';
import type { TableNames } from '../schema.js';

/**
 * How the records of one database are written down: where, by which clock, and what its values look like. Statements are
 * written with `?`.
 */
export abstract class RecordSql {
  abstract readonly readers: Readers;

  constructor(
    readonly names: TableNames,
    /** The database's clock: a SQL expression for epoch milliseconds. */
    readonly now: string,
  ) {}

  /** An id or an owner, as a parameter. */
  abstract token(hex: string): unknown;
  /** Text for people to read, as a parameter. */
  abstract text(text: string | null): unknown;

  /** The statement with the placeholders of this database. */
  placed(sql: string): string {
    return sql;
  }

  /** The columns of a record as they are read. */
  get columns(): string {
    return selectList(this.readers, this.now);
  }

  /** Reads one row, dead or alive, with the time. Parameter: id. */
  get lookSql(): string {
    return `SELECT ${this.now} AS now, ${this.columns} FROM ${this.names.table} WHERE id = ?`;
  }

  completion({ id, owner, result, ttlMs }: CompleteRequest, condition: string) {
    const sql =
      `UPDATE ${this.names.table} SET state = ?, result = ?, expires_at = ${this.now} + ?, ` +
      `lease_until = NULL, steps = NULL, attempts_finished = attempts_finished + 1 ` +
      `WHERE id = ? AND owner = ? AND ${condition}`;
    const named = [this.token(id), this.token(owner)];
    return { sql, parameters: [outcomeState(result), bytes(result), ttlMs, ...named] };
  }

  /** Gives the claim of an open transaction its lease. Parameters: lease, id, owner. */
  get leaseSql(): string {
    return (
      `UPDATE ${this.names.table} SET state = ${stateCode('in-progress')}, ` +
      `lease_until = ${this.now} + ? WHERE id = ? AND owner = ?`
    );
  }

  /** Takes a live claim into an open transaction. Parameters: id, owner. */
  get ownSql(): string {
    return (
      `UPDATE ${this.names.table} SET state = ${stateCode('uncertain')}, lease_until = NULL ` +
      `WHERE ${isOwnedSql(this.now)}`
    );
  }
}

/** What a transaction's row is written with: uncertain, and no lease that could run out. */
export function withoutLease(request: ClaimRequest): ClaimRequest {
  return { ...request, effectStarted: true, leaseMs: null as unknown as number };
}

export function outcomeState(result: Uint8Array | null): number {
  return stateCode(result === null ? 'tombstone' : 'completed');
}

/** NUL and lone surrogates are no text to a database; such text is for people to read, so replace them. */
export function printable(text: string | null): string | null {
  return text === null ? null : Buffer.from(text).toString().replaceAll('\0', '\uFFFD');
}

export function bytes(value: Uint8Array | null): Buffer | null {
  return value && Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
