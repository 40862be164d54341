import type { DataSource, QueryRunner } from 'typeorm';
import type { ClaimRequest, CompleteRequest } from '../../../engine/store.js';
import type { PgClient, PgResult } from '../pg-client.js';
import { bytesLiteral, filled, hexOnly, uuidLiteral } from '../postgres-text.js';
import { PreparedStatements } from '../prepared-statements.js';
import { isUnsettled, toRecord } from '../rows.js';
import type { Row } from '../rows.js';
import { claimedBy, heldBy, isOwn } from './claim-answers.js';
import type { ClaimWithin, Won } from './claim-answers.js';
import { DialectTransactions } from './dialect-transactions.js';
import type { Connection } from './dialect-transactions.js';
import { ClaimWithinSql, claimValues, lockOf } from './postgres-claim-within.js';
import { rolledBack } from './postgres-errors.js';
import type { PostgresLayout } from './postgres-layout.js';
import type { PostgresSql } from './postgres-sql.js';
import { outcomeState, withoutLease } from './record-sql.js';

/** The row that was written in this very transaction. */
const IS_PART_OF = 'state = 2 AND lease_until IS NULL AND pg_current_xact_id()::text';
/** Larger results travel as parameters, by themselves. */
const LARGEST_INLINE = 65_536;
/** PostgreSQL takes no more. */
const LONGEST_IDLE_MS = 2 ** 31 - 1;

/** PostgreSQL: the claim travels with BEGIN and the outcome with COMMIT; a transaction is known by its number. */
export class PostgresTransactions extends DialectTransactions<PostgresSql> {
  private readonly within = new ClaimWithinSql(this.sql);
  private readonly prepared = new PreparedStatements(this.within.prepared);

  constructor(
    private readonly dataSource: DataSource,
    sql: PostgresSql,
    private readonly layout: PostgresLayout,
  ) {
    super(sql);
  }

  async begin({ runner, send }: Connection, idleMs: number): Promise<void> {
    try {
      await runner.broadcaster.broadcast('BeforeTransactionStart');
      await send(this.beginSql(idleMs));
      await begun(runner);
    } catch (error) {
      await this.discard({ runner });
      throw error;
    }
  }

  private beginSql(idleMs: number): string {
    const { isolationLevel } = this.dataSource.options;
    const level = isolationLevel === undefined ? '' : ` ISOLATION LEVEL ${isolationLevel}`;
    const limit = Math.min(Math.ceil(idleMs), LONGEST_IDLE_MS);
    return `START TRANSACTION${level}; SET LOCAL idle_in_transaction_session_timeout = ${limit}`;
  }

  /** One message for both: a transaction costs no round trip more for its claim. */
  override async beginWith(on: Connection, request: ClaimRequest): Promise<ClaimWithin> {
    const { runner } = on;
    try {
      await runner.broadcaster.broadcast('BeforeTransactionStart');
      const results = await this.beginAndClaim(runner, request);
      await begun(runner);
      return await this.met(on, request, results);
    } catch (error) {
      Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
      await this.giveUp(on);
      throw error;
    }
  }

  private async beginAndClaim(runner: QueryRunner, request: ClaimRequest): Promise<PgResult[]> {
    const begin = this.beginSql(request.leaseMs);
    const values = claimValues(request);
    const plain = `${begin}; ${this.within.claim(values)}`;
    // a plan for all values would lock every day
    const mayPrepare = this.layout.daily === undefined;
    if (!mayPrepare || !(await this.prepared.introduceTo(await clientOf(runner)))) {
      return this.sendTogether(runner, plain);
    }
    const insert = this.prepared.executeSql('insert', values);
    const look = this.prepared.executeSql('look', [values[0]]);
    try {
      return await this.sendTogether(runner, `${begin}; ${insert}; ${look}`);
    } catch (error) {
      if (!this.prepared.areRefused(error)) throw error;
      return this.sendTogether(runner, `ROLLBACK; ${plain}`);
    }
  }

  async claimWithin(on: Connection, request: ClaimRequest): Promise<ClaimWithin> {
    const results = await this.sendTogether(on.runner, this.within.claim(claimValues(request)));
    return this.met(on, request, results);
  }

  private async met(
    { send }: Connection,
    request: ClaimRequest,
    results: readonly PgResult[],
  ): Promise<ClaimWithin> {
    const [inserted, seen] = results.slice(-2).map(({ rows }) => rows[0]);
    if (inserted !== undefined && seen !== undefined) {
      return { type: 'won', claimed: claimedBy(seen, false), mark: inserted.xact as string };
    }
    const held = heldBy(seen);
    if (isOwn(held, request)) {
      const [[own]] = (await send(this.within.own(request))) as [Row[], number];
      if (own === undefined) return 'busy';
      return { type: 'won', claimed: claimedBy(seen as Row, false), mark: own.xact as string };
    }
    if (held !== undefined) {
      return held;
    }
    const lock = `SELECT pg_try_advisory_xact_lock(${lockOf(request.id)}) AS ours`;
    const [turn] = (await send(lock)) as Row[];
    if (turn?.ours !== true) {
      return 'busy';
    }
    return seen && this.takeOver(send, withoutLease(request), seen);
  }

  private async takeOver(
    send: Connection['send'],
    request: ClaimRequest,
    dead: Row,
  ): Promise<Won | undefined> {
    const parameters = [...this.sql.claimParameters(request), dead.owner];
    const [row] = (await send(this.sql.takeOverSql, parameters)) as Row[];
    if (row === undefined) return undefined;
    const claimed = claimedBy(row, isUnsettled(toRecord(dead)));
    return { type: 'won', claimed, mark: row.xact as string };
  }

  /** One message: a kept start costs one round trip, and one commit, more. */
  protected async keepStart(
    { runner }: Connection,
    request: ClaimRequest,
    first: Won,
  ): Promise<Won | undefined> {
    const keep = [this.within.lease(request), 'COMMIT'];
    const goOn = [this.beginSql(request.leaseMs), this.within.own(request)];
    const results = await this.sendTogether(runner, [...keep, ...goOn].join('; '));
    const own = results.at(-1)?.rows[0];
    return own && { ...first, mark: own.xact as string };
  }

  isOver(runner: QueryRunner): boolean {
    return heldClient(runner)?.getTransactionStatus?.() === 'I';
  }

  async completeWithin(on: Connection, request: CompleteRequest, mark: string): Promise<boolean> {
    const { sql, parameters } = this.sql.completion(request, `${IS_PART_OF} = ?`);
    return (await this.affected(on, sql, [...parameters, mark])) > 0;
  }

  /**
   * Dividing by the number of rows that were met fails the message, and with it the COMMIT behind it. It is not prepared:
   * work that is done must not fail because of a name.
   */
  override finalStatement(
    { runner }: Connection,
    request: CompleteRequest,
    mark: string,
  ): string | undefined {
    const { id, owner, result, ttlMs } = request;
    // without the status, whether the work has left its transaction has to be seen before
    const tells = heldClient(runner)?.getTransactionStatus !== undefined;
    if (!tells || (result?.length ?? 0) > LARGEST_INLINE) {
      return undefined;
    }
    const { sql } = this.sql.completion(request, `${IS_PART_OF} = '${hexOnly(mark)}'`);
    const outcome = [
      String(outcomeState(result)),
      bytesLiteral(result),
      `${Number(ttlMs)}::bigint`,
    ];
    const done = filled(sql, [...outcome, uuidLiteral(id), uuidLiteral(owner)]);
    return `WITH done AS (${done} RETURNING 1) SELECT 1 / count(*) FROM done`;
  }

  /** @throws what PostgreSQL does not: after an error that was swallowed it answers COMMIT with ROLLBACK. */
  override async commit({ runner }: Connection, finally_?: string): Promise<void> {
    await runner.broadcaster.broadcast('BeforeTransactionCommit');
    const sql = finally_ === undefined ? 'COMMIT' : `${finally_}; COMMIT`;
    const results = await this.sendTogether(runner, sql);
    if (results.at(-1)?.command === 'ROLLBACK') throw rolledBack();
    Object.assign(runner, { isTransactionActive: false, transactionDepth: 0 });
    await runner.broadcaster.broadcast('AfterTransactionCommit');
  }

  /** Several statements in one message, which TypeORM would tell nothing of. */
  private async sendTogether(runner: QueryRunner, sql: string): Promise<PgResult[]> {
    const client = await clientOf(runner);
    this.dataSource.logger.logQuery(sql, [], runner);
    return [await client.query(sql)].flat();
  }

  protected async affected(
    { send }: Connection,
    sql: string,
    parameters: readonly unknown[],
  ): Promise<number> {
    const [, count] = (await send(this.sql.placed(sql), [...parameters])) as [Row[], number];
    return count;
  }

  async discard({ runner }: Pick<Connection, 'runner'>): Promise<void> {
    // with an error the pool ends the connection instead of lending it again
    const { releasePostgresConnection } = runner as unknown as Discardable;
    await releasePostgresConnection.call(runner, new Error('given up'));
  }
}

interface Discardable {
  releasePostgresConnection(error: Error): Promise<void>;
}

async function clientOf(runner: QueryRunner): Promise<PgClient> {
  return (await runner.connect()) as PgClient;
}

/** Of a runner that is connected. */
function heldClient(runner: QueryRunner): PgClient | undefined {
  return (runner as unknown as { databaseConnection?: PgClient }).databaseConnection;
}

/** As TypeORM has it. */
async function begun(runner: QueryRunner): Promise<void> {
  Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
  await runner.broadcaster.broadcast('AfterTransactionStart');
}
