import type { DataSource } from 'typeorm';
import type { Dialect } from '../stores/typeorm/dialects/dialect.js';
import { driverError, safeCause } from '../stores/typeorm/errors.js';
import type { Row } from '../stores/typeorm/rows.js';
import { familyOf, misconfigured } from '../stores/typeorm/schema.js';
import { inOwnRight } from '../transactions/transaction-scope.js';
import type { ParkedMessage } from './message.js';
import { selectList, toClaimed, toParked, type Claimed } from './outbox-rows.js';
import { persistently, storeUnavailable } from './persistently.js';
import { COLUMNS, PARKED, PENDING, SENT, createStatements, type OutboxNames } from './schema.js';

export interface ClaimOrder {
  readonly sink: string;
  /** Which relay asks: 32 hex digits. */
  readonly owner: string;
  readonly limit: number;
  readonly leaseMs: number;
}

export interface Failure {
  readonly seq: string;
  readonly error: string;
  /** When it is tried again, from now; parked without. */
  readonly retryInMs: number | undefined;
}

/** What relays and operators do with the rows: statements, and no rules. */
export class OutboxTable {
  private readonly now: string;
  /**
   * Beginnings of statements that name their rows by `seq`. A short table MySQL would rather read as a whole, and
   * wait on its way for the rows of every open transaction.
   */
  private readonly update: string;
  private readonly delete: string;

  constructor(
    private readonly dataSource: DataSource,
    private readonly dialect: Dialect,
    private readonly names: OutboxNames,
  ) {
    this.now = dialect.sql.now;
    const { table } = names;
    const isMySql = familyOf(dialect.name) === 'mysql';
    this.update = `UPDATE ${table} ${isMySql ? 'FORCE INDEX (PRIMARY) ' : ''}SET`;
    this.delete = isMySql
      ? `DELETE o FROM ${table} o FORCE INDEX (PRIMARY)`
      : `DELETE FROM ${table}`;
  }

  async init(): Promise<void> {
    if (this.dataSource.options.synchronize === true) {
      await this.create();
    }
    await this.check();
  }

  private async create(): Promise<void> {
    const { name } = this.dialect;
    const statements = createStatements(name, this.names);
    if (name === 'postgres') {
      // one message is one transaction; IF NOT EXISTS alone fails when two instances start at once
      statements.unshift(`SELECT pg_advisory_xact_lock(hashtext('nestjs-idempotency/outbox'))`);
      await this.dataSource.query(statements.join('; '));
      return;
    }
    for (const sql of statements) {
      await this.dialect.execute(sql);
    }
  }

  private async check(): Promise<void> {
    try {
      const { table } = this.names;
      await this.dialect.select(`SELECT ${COLUMNS.join(', ')} FROM ${table} WHERE 1 = 0`);
    } catch (error) {
      if (!this.dialect.errors.isSchemaMissing(driverError(error))) {
        throw storeUnavailable(error);
      }
      throw misconfigured(
        `The table "${this.names.plain}" of the outbox is missing or older than this version. Add ` +
          '...outboxMigrations() of nestjs-idempotency/outbox to the `migrations` of the DataSource and run ' +
          'them, or set `synchronize: true` in development.',
        safeCause(error),
      );
    }
  }

  /**
   * Takes the lease of messages that are due, in the order in which they were written. Behind an earlier message
   * of its ordering key that has not been sent, whatever keeps that back, none is due.
   */
  claim(order: ClaimOrder): Promise<Claimed[]> {
    return this.persistently(() =>
      this.dialect.name === 'postgres' ? this.claimAtOnce(order) : this.claimInSteps(order),
    );
  }

  private due(select: string): string {
    const { table } = this.names;
    return (
      `SELECT ${select} FROM ${table} o WHERE o.state = ${PENDING} AND o.sink = ? ` +
      `AND o.available_at <= ${this.now} AND o.lease_until <= ${this.now} AND (o.ordering_key IS NULL OR ` +
      `NOT EXISTS (SELECT 1 FROM ${table} e WHERE e.ordering_key = o.ordering_key AND e.sink = o.sink ` +
      `AND e.seq < o.seq AND e.state <> ${SENT})) ORDER BY o.seq LIMIT ?`
    );
  }

  private async claimAtOnce({ sink, owner, limit, leaseMs }: ClaimOrder): Promise<Claimed[]> {
    const { table } = this.names;
    const sql =
      `WITH due AS MATERIALIZED (${this.due('o.seq')} FOR UPDATE OF o SKIP LOCKED), ` +
      `claimed AS (UPDATE ${table} t SET owner = ?, lease_until = ${this.now} + ?, ` +
      `attempts = t.attempts + 1 FROM due WHERE t.seq = due.seq RETURNING t.*) ` +
      `SELECT ${selectList(this.dialect.name)} FROM claimed ORDER BY seq`;
    return (await this.select(sql, [sink, limit, owner, leaseMs])).map(toClaimed);
  }

  /**
   * What is due is read without a lock, as of one moment: a locking read would see messages that were committed
   * since, and not the earlier ones of their ordering keys. Of two relays that saw the same, the first gets it.
   */
  private async claimInSteps({ sink, owner, limit, leaseMs }: ClaimOrder): Promise<Claimed[]> {
    const due = await this.select(this.due('o.seq AS seq'), [sink, limit]);
    if (due.length === 0) {
      return [];
    }
    const those = among(due.map(({ seq }) => String(seq)));
    const { table } = this.names;
    const taken = await this.execute(
      `${this.update} owner = ?, lease_until = ${this.now} + ?, attempts = attempts + 1 ` +
        `WHERE ${those} AND state = ${PENDING} AND lease_until <= ${this.now} AND available_at <= ${this.now}`,
      [owner, leaseMs],
    );
    if (taken === 0) {
      return this.claimInSteps({ sink, owner, limit, leaseMs });
    }
    const sql = `SELECT ${selectList(this.dialect.name)} FROM ${table} WHERE ${those} AND owner = ? ORDER BY seq`;
    return (await this.select(sql, [owner])).map(toClaimed);
  }

  /** They have reached their sink. `keep`: the rows stay, marked as sent. Answers those that are settled by that. */
  async markSent(
    seqs: readonly string[],
    owner: string,
    keep: boolean,
  ): Promise<readonly string[]> {
    const change = keep
      ? `${this.update} state = ${SENT}, sent_at = ${this.now}, owner = NULL`
      : this.delete;
    const count = await this.persistently(() =>
      this.execute(`${change} WHERE ${owned(seqs)}`, [owner]),
    );
    if (count === seqs.length) {
      return seqs;
    }
    // some leases were over, and others have the messages
    const sql = `SELECT seq FROM ${this.names.table} WHERE ${among(seqs)} AND state <> ${SENT}`;
    const left = await this.persistently(() => this.select(sql, []));
    const open = new Set(left.map(({ seq }) => String(seq)));
    return seqs.filter((seq) => !open.has(seq));
  }

  /** False when the lease was over, and others have the message. */
  async fail({ seq, error, retryInMs }: Failure, owner: string): Promise<boolean> {
    const state = retryInMs === undefined ? PARKED : PENDING;
    const sql =
      `${this.update} state = ${state}, available_at = ${this.now} + ?, last_error = ?, ` +
      `owner = NULL, lease_until = 0 WHERE ${owned([seq])}`;
    const count = await this.persistently(() => this.execute(sql, [retryInMs ?? 0, error, owner]));
    return count > 0;
  }

  /** Nothing was tried: others may have them at once. */
  giveBack(seqs: readonly string[], owner: string): Promise<unknown> {
    const sql =
      `${this.update} owner = NULL, lease_until = 0, attempts = attempts - 1 ` +
      `WHERE ${owned(seqs)}`;
    return this.persistently(() => this.execute(sql, [owner]));
  }

  /** Answers how many it deleted. */
  async deleteSent(olderThanMs: number, limit: number): Promise<number> {
    const { table } = this.names;
    const sql =
      `SELECT seq FROM ${table} WHERE state = ${SENT} AND sent_at <= ${this.now} - ? ` +
      `ORDER BY seq LIMIT ?`;
    const rows = await this.persistently(() => this.select(sql, [olderThanMs, limit]));
    if (rows.length === 0) {
      return 0;
    }
    const those = among(rows.map(({ seq }) => String(seq)));
    return this.persistently(() => this.execute(`${this.delete} WHERE ${those}`));
  }

  parked(limit: number, after: string | undefined): Promise<ParkedMessage[]> {
    return this.list(PARKED, limit, after);
  }

  pending(limit: number): Promise<ParkedMessage[]> {
    return this.list(PENDING, limit);
  }

  private async list(state: number, limit: number, after?: string): Promise<ParkedMessage[]> {
    const { table } = this.names;
    const sql =
      `SELECT ${selectList(this.dialect.name)} FROM ${table} WHERE state = ${state}` +
      (after === undefined ? '' : ' AND seq > ?') +
      ` ORDER BY seq LIMIT ?`;
    const parameters = after === undefined ? [limit] : [after, limit];
    return (await this.persistently(() => this.select(sql, parameters))).map(toParked);
  }

  async redrive(id: string): Promise<boolean> {
    const sql =
      `UPDATE ${this.names.table} SET state = ${PENDING}, attempts = 0, available_at = ${this.now} ` +
      `WHERE id = ? AND state = ${PARKED}`;
    return (await this.persistently(() => this.execute(sql, [id]))) > 0;
  }

  async discard(id: string): Promise<boolean> {
    const sql = `DELETE FROM ${this.names.table} WHERE id = ? AND state = ${PARKED}`;
    return (await this.persistently(() => this.execute(sql, [id]))) > 0;
  }

  private select(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return this.dialect.select(sql, parameters);
  }

  private execute(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    return this.dialect.execute(sql, parameters);
  }

  /** In no transaction of anybody. */
  private persistently<T>(work: () => Promise<T>): Promise<T> {
    return persistently(this.dialect, () => inOwnRight(this.dataSource, work));
  }
}

/** Numbers of our own, and so no parameters. */
function among(seqs: readonly string[]): string {
  return `seq IN (${seqs.map(Number).join(', ')})`;
}

/** Still leased by the relay that asks. Parameter: owner. */
function owned(seqs: readonly string[]): string {
  return `${among(seqs)} AND owner = ? AND state = ${PENDING}`;
}
