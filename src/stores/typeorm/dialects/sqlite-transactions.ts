import type { Claim, ClaimRequest, CompleteRequest } from '../../../engine/store.js';
import type { SqliteGate } from '../../../transactions/sqlite-gate.js';
import { driverError } from '../errors.js';
import { isUnsettled, toRecord } from '../rows.js';
import type { Row } from '../rows.js';
import { claimedBy, heldBy, isOwn } from './claim-answers.js';
import type { Held, Won } from './claim-answers.js';
import { DialectTransactions, newMark } from './dialect-transactions.js';
import type { Connection } from './dialect-transactions.js';
import { withoutLease } from './record-sql.js';
import { LONGEST_WAIT_MS } from './sqlite-connection.js';
import type { Handle, SqliteConnection } from './sqlite-connection.js';
import { sqliteErrors } from './sqlite-errors.js';
import type { SqliteRows } from './sqlite-rows.js';

/** SQLite: one transaction at a time, which everybody else waits for at the gate. */
export class SqliteTransactions extends DialectTransactions<SqliteRows> {
  override readonly gate: SqliteGate;

  constructor(
    private readonly connection: SqliteConnection,
    sql: SqliteRows,
  ) {
    super(sql);
    this.gate = connection.gate;
  }

  /** `IMMEDIATE`: a transaction that read first could not be made one that writes while another process does. */
  async begin(on: Connection): Promise<void> {
    const { broadcaster } = on.runner;
    const begin = (): void => {
      this.connection.withoutBlocking((db) => this.run(db, 'BEGIN IMMEDIATE'));
    };
    await broadcaster.broadcast('BeforeTransactionStart');
    await this.gate.close(begin, LONGEST_WAIT_MS);
    await this.orGiveUp(on, async () => {
      await broadcaster.broadcast('AfterTransactionStart');
    });
  }

  async claimWithin(_: Connection, request: ClaimRequest): Promise<Won | Held> {
    const db = this.connection.handle;
    const seen = this.sql.read(db, request.id);
    const held = heldBy(seen);
    const isOurs = isOwn(held, request);
    if (held && !isOurs) return held;
    if (isOurs) {
      this.takeOwn(db, request);
    } else {
      this.sql.write(db, withoutLease(request));
    }
    const takenOver = !isOurs && seen !== undefined && isUnsettled(toRecord(seen));
    return this.marked(db, claimedBy(this.sql.read(db, request.id) as Row, takenOver));
  }

  /** In one turn of the event loop, in which nobody else can open a transaction. */
  protected async keepStart(
    _: Connection,
    { id, owner, leaseMs }: ClaimRequest,
    { claimed }: Won,
  ): Promise<Won> {
    return this.connection.withoutBlocking((db) => {
      this.run(db, this.sql.leaseSql, leaseMs, this.sql.token(id), this.sql.token(owner));
      this.run(db, 'COMMIT');
      this.run(db, 'BEGIN IMMEDIATE');
      this.takeOwn(db, { id, owner });
      return this.marked(db, claimed);
    });
  }

  private takeOwn(db: Handle, { id, owner }: Claim): void {
    this.run(db, this.sql.ownSql, this.sql.token(id), this.sql.token(owner));
  }

  private marked(db: Handle, claimed: Won['claimed']): Won {
    const mark = newMark();
    db.prepare(`SAVEPOINT ${mark}`).run();
    return { type: 'won', claimed, mark };
  }

  async completeWithin(_: Connection, request: CompleteRequest, mark: string): Promise<boolean> {
    const db = this.connection.handle;
    try {
      db.prepare(`RELEASE SAVEPOINT ${mark}`).run();
    } catch (error) {
      if (sqliteErrors.isSavepointMissing(driverError(error))) return false;
      throw error;
    }
    const { sql, parameters } = this.sql.completion(request, 'state = 2 AND lease_until IS NULL');
    return this.run(db, sql, ...parameters) > 0;
  }

  protected async affected(
    _: Connection,
    sql: string,
    parameters: readonly unknown[],
  ): Promise<number> {
    return this.run(this.connection.handle, sql, ...parameters);
  }

  override async commit({ runner }: Connection): Promise<void> {
    await runner.broadcaster.broadcast('BeforeTransactionCommit');
    this.end('COMMIT');
    await runner.broadcaster.broadcast('AfterTransactionCommit');
  }

  override async rollback({ runner }: Connection): Promise<void> {
    await runner.broadcaster.broadcast('BeforeTransactionRollback');
    this.end('ROLLBACK');
    await runner.broadcaster.broadcast('AfterTransactionRollback');
  }

  override async giveBack(): Promise<void> {
    this.gate.open();
  }

  async discard(): Promise<void> {
    try {
      this.end('ROLLBACK');
    } finally {
      this.gate.open();
    }
  }

  isOver(): boolean {
    return !this.connection.handle.inTransaction;
  }

  override hasEnded(): boolean {
    return this.isOver();
  }

  override async keepAlive(): Promise<void> {}

  private end(sql: 'COMMIT' | 'ROLLBACK'): void {
    const db = this.connection.handle;
    if (db.inTransaction) this.run(db, sql);
  }

  private run(db: Handle, sql: string, ...parameters: unknown[]): number {
    return this.connection.prepare(db, sql).run(...parameters).changes;
  }
}
