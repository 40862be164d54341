import type { QueryRunner } from 'typeorm';
import type { Claim, ClaimRequest, CompleteRequest } from '../../../engine/store.js';
import type { SqliteGate } from '../../../transactions/sqlite-gate.js';
import { isOwnedSql, stateCode } from '../rows.js';
import type { Row } from '../rows.js';
import type { ClaimWithin, Won } from './claim-answers.js';
import type { DriverError } from './database-errors.js';
import { bytes } from './record-sql.js';
import type { RecordSql } from './record-sql.js';

/** A connection with a transaction on it. */
export interface Connection {
  readonly runner: QueryRunner;
  /** Sends a statement on it at once. */
  readonly send: QueryRunner['query'];
}

/** A record's claim and outcome in a transaction that the application's own statements are in. */
export abstract class DialectTransactions<Sql extends RecordSql = RecordSql> {
  constructor(protected readonly sql: Sql) {}

  /** What others wait at while a transaction is open, where there is one connection for all. */
  readonly gate: SqliteGate | undefined = undefined;

  /**
   * Opens a transaction that the server ends when its owner falls silent for longer than `idleMs`. When
   * this throws, nothing is left open.
   */
  abstract begin(on: Connection, idleMs: number): Promise<void>;

  /**
   * Claims in the open transaction, waiting for nobody. The row is written as an uncertain one: should the work commit by
   * itself, that is what its outcome is. A live claim of the same owner is taken into the transaction.
   */
  abstract claimWithin(on: Connection, request: ClaimRequest): Promise<ClaimWithin>;

  /** Opens a transaction and claims in it. When this throws, nothing is left open. */
  async beginWith(on: Connection, request: ClaimRequest): Promise<ClaimWithin> {
    await this.begin(on, request.leaseMs);
    return this.orGiveUp(on, () => this.claimWithin(on, request));
  }

  /** As `beginWith`, of a claim that is committed with its lease before. */
  async beginKept(on: Connection, request: ClaimRequest): Promise<ClaimWithin> {
    const first = await this.beginWith(on, request);
    if (typeof first !== 'object' || first.type === 'held') return first;
    return this.orGiveUp(on, () => this.keepStart(on, request, first));
  }

  /** Commits the claim of the open transaction with its lease, and takes it into the next one. */
  protected abstract keepStart(
    on: Connection,
    request: ClaimRequest,
    first: Won,
  ): Promise<Won | undefined>;

  /** Has this error rolled back the whole transaction, so that the next statement would commit by itself? */
  hasEnded(_error: DriverError): boolean {
    return false;
  }

  /** Is the transaction over after a statement that was answered so? Unknown counts as no. */
  abstract isOver(runner: QueryRunner, answer: unknown): boolean;

  /** Was the claim committed with what its transaction did, or undone? Before it, it may have had a lease. */
  async isKept({ send }: Connection, { id, owner }: Claim): Promise<boolean> {
    const sql =
      `SELECT 1 FROM ${this.sql.names.table} WHERE id = ? AND owner = ? ` +
      `AND state = ${stateCode('uncertain')} AND lease_until IS NULL`;
    const named = [id, owner].map((hex) => this.sql.token(hex));
    const rows = (await send(this.sql.placed(sql), named)) as Row[];
    return rows.length > 0;
  }

  /**
   * The statement that completes the record, for those who can send it together with COMMIT: it fails when the
   * transaction is not the one that `mark` was set in. `undefined`: it is sent by itself, by `completeWithin`.
   */
  finalStatement(_on: Connection, _request: CompleteRequest, _mark: string): string | undefined {
    return undefined;
  }

  /** The last statement of the transaction. False when it is no longer the one that `mark` was set in. */
  abstract completeWithin(on: Connection, request: CompleteRequest, mark: string): Promise<boolean>;

  /** Keeps steps if the claim is still owned. */
  async keepStepsWithin(on: Connection, { id, owner }: Claim, steps: Uint8Array): Promise<boolean> {
    const { names, now } = this.sql;
    const sql = `UPDATE ${names.table} SET steps = ? WHERE ${isOwnedSql(now)}`;
    const parameters = [bytes(steps), this.sql.token(id), this.sql.token(owner)];
    return (await this.affected(on, sql, parameters)) > 0;
  }

  /** Runs one UPDATE on the connection and answers how many rows it met. */
  protected abstract affected(
    on: Connection,
    sql: string,
    parameters: readonly unknown[],
  ): Promise<number>;

  /** @param _finally a statement that `finalStatement` answered */
  async commit({ runner }: Connection, _finally?: string): Promise<void> {
    await runner.commitTransaction();
  }

  async rollback({ runner }: Connection): Promise<void> {
    await runner.rollbackTransaction();
  }

  /** Gives the connection back after its transaction. */
  async giveBack({ runner }: Connection): Promise<void> {
    await runner.release();
  }

  /** Ends a connection that cannot be trusted any more. */
  abstract discard(on: Pick<Connection, 'runner'>): Promise<void>;

  async keepAlive({ send }: Connection): Promise<void> {
    await send('SELECT 1');
  }

  /** Leaves nothing open of a transaction that failed before it was anybody's. */
  async orGiveUp<T>(on: Connection, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.giveUp(on);
      throw error;
    }
  }

  protected async giveUp(on: Connection): Promise<void> {
    try {
      await this.rollback(on);
      await this.giveBack(on);
    } catch {
      await this.discard(on);
    }
  }
}

let marks = 0;

/** The name of a savepoint that is there as long as its transaction is. */
export function newMark(): string {
  return `nestjs_idempotency_mark_${(marks += 1)}`;
}
