import type { DataSource } from 'typeorm';
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  Upkeep,
} from '../../../engine/store.js';
import { createStatements } from '../ddl.js';
import { NamedStatements } from '../named-statements.js';
import { literal } from '../postgres-text.js';
import { isInProgressSql, isToSettleSql, isUnsettled, toRecord } from '../rows.js';
import type { Row } from '../rows.js';
import type { TableNames } from '../schema.js';
import { answer, answers } from './claim-answers.js';
import { Dialect } from './dialect.js';
import { PostgresCleanup } from './postgres-cleanup.js';
import { postgresErrors } from './postgres-errors.js';
import { PostgresLayout } from './postgres-layout.js';
import { PostgresSql } from './postgres-sql.js';
import { PostgresTransactions } from './postgres-transactions.js';
import { bytes, outcomeState } from './record-sql.js';

/** Longer than it takes to commit. */
const LONGEST_LOCK_MS = 50;

/** PostgreSQL: most of what the store asks for is one statement. */
export class PostgresDialect extends Dialect<PostgresSql> {
  readonly name = 'postgres';
  readonly errors = postgresErrors;
  override readonly prefersBatches = true;
  readonly transactions: PostgresTransactions;
  private readonly statements: NamedStatements;
  private readonly layout: PostgresLayout;
  private readonly cleanup: PostgresCleanup;

  constructor(dataSource: DataSource, names: TableNames, clock?: string) {
    super(dataSource, new PostgresSql(names, clock));
    const { sql } = this;
    this.statements = new NamedStatements(dataSource);
    this.layout = new PostgresLayout(sql, this.statements);
    this.transactions = new PostgresTransactions(dataSource, sql, this.layout);
    this.cleanup = new PostgresCleanup(dataSource, this, this.layout);
  }

  async select(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return this.statements.query<Row[]>(this.sql.placed(sql), parameters);
  }

  async execute(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    const [, count] = await this.statements.query<[Row[], number]>(
      this.sql.placed(sql),
      parameters,
    );
    return count;
  }

  async createTable(): Promise<void> {
    // One message is one transaction. IF NOT EXISTS alone fails when two instances start at once.
    const statements = [
      `SELECT pg_advisory_xact_lock(${this.sql.lockKey})`,
      ...createStatements('postgres', this.sql.names),
    ];
    await this.dataSource.query(statements.join('; '));
  }

  async hasScopeIndex(): Promise<boolean> {
    const rows = await this.select(
      'SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] ' +
        "WHERE i.indrelid = ?::regclass AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'scope'",
      [this.sql.names.table],
    );
    return rows.length > 0;
  }

  override async checkTable(columns: readonly string[]): Promise<void> {
    // its partitions are not opened: somebody may be at one of them
    await super.checkTable(columns, `ONLY ${this.sql.names.table}`);
    await this.layout.look();
  }

  override maintain(): Promise<Upkeep> {
    return this.cleanup.maintain();
  }

  deleteExpired(limit: number): Promise<number> {
    return this.cleanup.deleteExpired(limit);
  }

  protected override due(): [condition: string, ...parameters: unknown[]] {
    return this.cleanup.due();
  }

  /**
   * One statement that inserts the row or reads it. It never begins with `ON CONFLICT DO UPDATE`,
   * which locks the row and writes even when nothing changes; and a row that is already there is
   * only read, so that a replay takes no lock, draws no number and writes no log.
   */
  async claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    const { table, fence } = this.sql.names;
    const sql = `
      WITH clock AS MATERIALIZED (SELECT ${this.sql.now} AS now),
      inserted AS (
        INSERT INTO ${table} (id, owner, fingerprint, scope, operation, idempotency_key, fence,
          state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
        SELECT $1::uuid, $2::uuid, $3::bytea, $4::text, $5::text, $6::text,
          nextval(${literal(fence)}), $9::smallint, 1, 0, now, now + $7::bigint, now + $8::bigint,
          now + $8::bigint
        FROM clock WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE id = $1::uuid)
        ON CONFLICT (id) DO NOTHING
        RETURNING *
      )
      SELECT true AS inserted, clock.now, ${this.sql.columnsAtClock}
      FROM inserted r, clock
      UNION ALL
      SELECT false, clock.now, ${this.sql.columnsAtClock}
      FROM ${table} r, clock WHERE r.id = $1::uuid`;
    const [row] = await this.statements.query<Row[]>(sql, this.sql.claimParameters(request));
    // No row: somebody inserted it after this statement's snapshot was taken.
    if (!row) return undefined;
    const answered = answer(row, request, row.inserted === true ? false : undefined);
    return answered ?? this.takeOver(request, row);
  }

  async claimFree(
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<ReadonlyMap<string, ClaimResult>> {
    const { table, fence } = this.sql.names;
    const columns = this.sql.columnsAtClock;
    // set before the first row is inserted, and for this statement alone
    const limit = atOnce ? `, set_config('lock_timeout', '${LONGEST_LOCK_MS}', true) AS lock` : '';
    const sql = `
      WITH clock AS MATERIALIZED (SELECT ${this.sql.now} AS now${limit}),
      asked AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[],
          $7::bigint[], $8::bigint[], $9::smallint[])
          AS a (id, owner, fingerprint, scope, operation, idempotency_key, lease, ttl, state)
      ),
      inserted AS (
        INSERT INTO ${table} (id, owner, fingerprint, scope, operation, idempotency_key, fence,
          state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
        SELECT a.id, a.owner, a.fingerprint, a.scope, a.operation, a.idempotency_key,
          nextval(${literal(fence)}), a.state, 1, 0, now, now + a.lease, now + a.ttl, now + a.ttl
        FROM asked a, clock WHERE NOT EXISTS (SELECT 1 FROM ${table} r WHERE r.id = a.id ${this.layout.among})
        ORDER BY a.id
        ON CONFLICT (id) DO NOTHING
        RETURNING *
      )
      SELECT true AS inserted, clock.now, ${columns} FROM inserted r, clock
      UNION ALL
      SELECT false, clock.now, ${columns} FROM ${table} r, clock
      WHERE r.id IN (SELECT id FROM asked) ${this.layout.among}`;
    const rows = requests.map((request) => this.sql.claimParameters(request));
    const arrays = rows[0]!.map((_, column) => rows.map((row) => row[column]));
    const found = await this.statements.query<Row[]>(sql, arrays);
    return answers(found, requests, (row) => row.inserted === true);
  }

  /** Past every row that somebody else holds. */
  async completeAll(requests: readonly CompleteRequest[]): Promise<ReadonlySet<string>> {
    const { table } = this.sql.names;
    const sql = `
      WITH mine AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bigint[], $5::smallint[])
          AS m (id, owner, result, ttl, state)
      ),
      locked AS MATERIALIZED (
        SELECT r.id FROM ${table} r WHERE (r.id, r.owner) IN (SELECT id, owner FROM mine) ${this.layout.among}
        ORDER BY r.id FOR UPDATE SKIP LOCKED
      ),
      completed AS (
        UPDATE ${table} r SET state = mine.state, result = mine.result,
          expires_at = ${this.sql.now} + mine.ttl, lease_until = NULL, steps = NULL,
          attempts_finished = r.attempts_finished + 1
        FROM mine JOIN locked USING (id)
        WHERE r.id = mine.id AND r.owner = mine.owner AND ${isToSettleSql(this.sql.now, 'r.')} ${this.layout.among}
        RETURNING r.owner
      )
      SELECT ${this.sql.readers.hex('owner')} AS owner FROM completed`;
    const rows = await this.statements.query<Row[]>(sql, [
      requests.map(({ id }) => id),
      requests.map(({ owner }) => owner),
      requests.map(({ result }) => bytes(result)),
      requests.map(({ ttlMs }) => ttlMs),
      requests.map(({ result }) => outcomeState(result)),
    ]);
    return new Set(rows.map((row) => row.owner as string));
  }

  private async takeOver(request: ClaimRequest, dead: Row): Promise<ClaimResult | undefined> {
    const parameters = [...this.sql.claimParameters(request), dead.owner];
    const [row] = await this.statements.query<Row[]>(this.sql.takeOverSql, parameters);
    return answer(row, request, isUnsettled(toRecord(dead)));
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const sql = `
      WITH renewed AS (
        UPDATE ${this.sql.names.table} r SET lease_until = ${this.sql.now} + $3::bigint
        FROM unnest($1::uuid[], $2::uuid[]) AS mine (id, owner)
        WHERE r.id = mine.id AND r.owner = mine.owner AND ${isInProgressSql(this.sql.now)} ${this.layout.among}
        RETURNING r.owner
      )
      SELECT ${this.sql.readers.hex('owner')} AS owner FROM renewed`;
    const ids = claims.map(({ id }) => id);
    const owners = claims.map(({ owner }) => owner);
    const rows = await this.statements.query<Row[]>(sql, [ids, owners, leaseMs]);
    return new Set(rows.map((row) => row.owner as string));
  }

  /** One statement for any number of them, which is planned once. */
  protected override oneOf(ids: readonly string[]): { condition: string; parameters: unknown[] } {
    return { condition: 'id = ANY (?::uuid[])', parameters: [ids] };
  }
}
