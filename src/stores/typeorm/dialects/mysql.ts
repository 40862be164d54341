import type { DataSource, QueryRunner } from 'typeorm';
import type { Claim, ClaimRequest, ClaimResult, CompleteRequest } from '../../../engine/store.js';
import { createStatements } from '../ddl.js';
import { driverError } from '../errors.js';
import { isInProgressSql, isToSettleSql, isUnsettled, toRecord } from '../rows.js';
import type { Row } from '../rows.js';
import { misconfigured } from '../schema.js';
import type { DialectName, TableNames } from '../schema.js';
import { answer, answers } from './claim-answers.js';
import { Dialect } from './dialect.js';
import { MySqlCleanup } from './mysql-cleanup.js';
import { isDuplicate, mysqlErrors } from './mysql-errors.js';
import { MySqlSql } from './mysql-sql.js';
import type { Affected } from './mysql-sql.js';
import { MySqlTransactions } from './mysql-transactions.js';
import { bytes, outcomeState } from './record-sql.js';

/**
 * MySQL: no `RETURNING` and no sequences. The winner of a claim is known by its own owner read back,
 * never by a count of rows, which means another thing with the driver's default flags. Never
 * `INSERT IGNORE` (it hides every error) nor `ON DUPLICATE KEY UPDATE` (it locks what it only reads).
 */
export class MySqlDialect extends Dialect<MySqlSql> {
  readonly name: DialectName = 'mysql';
  readonly errors = mysqlErrors;
  readonly transactions: MySqlTransactions;
  private readonly cleanup: MySqlCleanup;

  constructor(
    dataSource: DataSource,
    names: TableNames,
    clock?: string,
    sql = new MySqlSql(names, clock),
  ) {
    super(dataSource, sql);
    this.transactions = new MySqlTransactions(dataSource, sql);
    this.cleanup = new MySqlCleanup(dataSource, sql);
  }

  async select(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return this.dataSource.query<Row[]>(sql, [...parameters]);
  }

  async execute(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    const { affectedRows } = await this.dataSource.query<Affected>(sql, [...parameters]);
    return affectedRows;
  }

  async createTable(): Promise<void> {
    for (const statement of createStatements(this.name, this.sql.names)) {
      await this.dataSource.query(statement);
    }
  }

  override async checkTable(columns: readonly string[]): Promise<void> {
    await super.checkTable(columns);
    const [level] = await this.select(
      `SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')`,
    );
    this.transactions.readsLock ||= level?.Value === 'SERIALIZABLE';
    if (level?.Value === 'READ-UNCOMMITTED') {
      throw misconfigured(
        'The sessions of the DataSource of the idempotency store run at READ UNCOMMITTED, where a ' +
          'retry could be given an outcome that is rolled back later. Set them to READ COMMITTED or higher.',
      );
    }
  }

  async hasScopeIndex(): Promise<boolean> {
    const rows = await this.select(
      `SHOW INDEX FROM ${this.sql.names.table} WHERE Column_name = 'scope' AND Seq_in_index = 1`,
    );
    return rows.length > 0;
  }

  /** A statement outside a transaction has a snapshot of its own, at every isolation level. */
  async claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    const read = this.sql.lookSql;
    const id = this.sql.token(request.id);
    const [seen] = await this.select(read, [id]);
    const held = answer(seen, request);
    if (held) return held;
    // The number drawn last belongs to the connection, so keep it until it is written.
    const runner = this.dataSource.createQueryRunner('master');
    try {
      await runner.query(`INSERT INTO ${this.sql.names.fence} () VALUES ()`);
      if (seen) await this.takeOver(runner, request, seen);
      else await this.insert(runner, request);
      const [row] = (await runner.query(read, [id])) as Row[];
      return answer(row, request, seen !== undefined && isUnsettled(toRecord(seen)));
    } finally {
      await runner.release();
    }
  }

  async claimFree(
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<ReadonlyMap<string, ClaimResult>> {
    const ids = requests.map(({ id }) => this.sql.token(id));
    const read =
      `SELECT ${this.sql.now} AS now, ${this.sql.columns} FROM ${this.sql.names.table} ` +
      `WHERE id IN (${ids.map(() => '?').join(', ')})`;
    const seen = await this.select(read, ids);
    const known = new Set(seen.map((row) => row.id));
    const free = requests.filter(({ id }) => !known.has(id));
    if (free.length === 0) return answers(seen, requests, () => false);
    const runner = this.dataSource.createQueryRunner('master');
    try {
      await this.insertAll(runner, free, atOnce);
      const rows = (await runner.query(read, ids)) as Row[];
      return answers(rows, requests, (row) => !known.has(row.id));
    } catch (error) {
      // somebody was faster with one of them: it tells nothing of the others
      if (!isDuplicate(driverError(error))) throw error;
      return answers(seen, requests, () => false);
    } finally {
      await runner.release();
    }
  }

  /** The numbers that one statement draws are as far apart as the server is set up for. */
  protected async insertAll(
    runner: QueryRunner,
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<void> {
    const drawn = requests.map(() => '()').join(', ');
    await runner.query(`INSERT INTO ${this.sql.names.fence} () VALUES ${drawn}`);
    const rows = requests.map((_, n) =>
      this.sql.rowSql(`${this.sql.nextFence} + ${n} * @@SESSION.auto_increment_increment`),
    );
    await this.sendAll(runner, rows, requests, atOnce);
  }

  protected async sendAll(
    runner: QueryRunner,
    rows: readonly string[],
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<void> {
    const parameters = requests.flatMap((request) => this.sql.insertParameters(request));
    const limit = atOnce ? this.sql.withoutWaiting : '';
    await runner.query(`${limit}${this.sql.insertIntoSql} ${rows.join(', ')}`, parameters);
  }

  /** All of them or, as far as is known, none. */
  async completeAll(
    requests: readonly CompleteRequest[],
    atOnce: boolean,
  ): Promise<ReadonlySet<string>> {
    const one = 'SELECT ? AS id, ? AS owner, ? AS result, ? AS ttl, ? AS state';
    const sql = `
      ${atOnce ? this.sql.withoutWaiting : ''}UPDATE ${this.sql.names.table} r JOIN (${requests.map(() => one).join(' UNION ALL ')}) m
        ON r.id = m.id AND r.owner = m.owner
      SET r.state = m.state, r.result = m.result, r.expires_at = ${this.sql.now} + m.ttl,
        r.lease_until = NULL, r.steps = NULL, r.attempts_finished = r.attempts_finished + 1
      WHERE ${isToSettleSql(this.sql.now, 'r.')}`;
    const parameters = requests.flatMap(({ id, owner, result, ttlMs }) => [
      this.sql.token(id),
      this.sql.token(owner),
      bytes(result),
      ttlMs,
      outcomeState(result),
    ]);
    const count = await this.execute(sql, parameters);
    return new Set(count === requests.length ? requests.map(({ owner }) => owner) : []);
  }

  private async insert(runner: QueryRunner, request: ClaimRequest): Promise<void> {
    try {
      await runner.query(this.sql.insertSql, this.sql.insertParameters(request));
    } catch (error) {
      if (!isDuplicate(driverError(error))) throw error;
    }
  }

  private async takeOver(runner: QueryRunner, request: ClaimRequest, dead: Row): Promise<void> {
    const seenOwner = this.sql.token(dead.owner as string);
    await runner.query(this.sql.takeOverSql('?'), [
      ...this.sql.takeOverParameters(request),
      seenOwner,
    ]);
  }

  /** Which ones were renewed is read back, because a count of rows does not say. */
  async renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const { table } = this.sql.names;
    const list = (item: string): string => claims.map(() => item).join(', ');
    // Pairs alone are not looked up in the index, and would lock the whole table.
    const mine =
      `id IN (${list('?')}) AND (id, owner) IN (${list('(?, ?)')}) ` +
      `AND ${isInProgressSql(this.sql.now)}`;
    const parameters = [
      ...claims.map(({ id }) => this.sql.token(id)),
      ...claims.flatMap(({ id, owner }) => [this.sql.token(id), this.sql.token(owner)]),
    ];
    const update = `UPDATE ${table} SET lease_until = ${this.sql.now} + ? WHERE ${mine}`;
    await this.execute(update, [leaseMs, ...parameters]);
    const read = `SELECT ${this.sql.readers.hex('owner')} AS owner FROM ${table} WHERE ${mine}`;
    const rows = await this.select(read, parameters);
    return new Set(rows.map((row) => row.owner as string));
  }

  deleteExpired(limit: number): Promise<number> {
    return this.cleanup.deleteExpired(limit);
  }

  /** By the index, and then as bytes, because every collation, the binary one too, ignores blanks at the end. */
  protected override scopeIs(scope: unknown): [string, ...unknown[]] {
    return [
      'scope = CONVERT(? USING utf8mb4) COLLATE utf8mb4_bin AND CAST(scope AS BINARY) = ?',
      scope,
      scope,
    ];
  }
}
