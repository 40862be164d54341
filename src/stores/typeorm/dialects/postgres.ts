import type { DataSource, QueryRunner } from 'typeorm';
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  Upkeep,
} from '../../../engine/store.js';
import { createStatements } from '../ddl.js';
import { DAY_MS, dailyLayout, firstIdOf, partitionsSql } from '../daily-partitions.js';
import type { DailyLayout } from '../daily-partitions.js';
import { DailyUpkeep } from '../daily-upkeep.js';
import { NamedStatements } from '../named-statements.js';
import type { PgClient, PgResult } from '../pg-client.js';
import { literal } from '../postgres-text.js';
import { PreparedStatements, type PreparedStatement } from '../prepared-statements.js';
import {
  NEXT_ATTEMPT_SQL,
  claimState,
  isDeadSql,
  isDueSql,
  isInProgressSql,
  isToSettleSql,
  isUnsettled,
  selectList,
  stateCode,
  toRecord,
} from '../rows.js';
import type { Readers, Row } from '../rows.js';
import type { TableNames } from '../schema.js';
import { Dialect, bytes, heldBy, isOwn, printable, withoutLease, won } from './dialect.js';
import type { Connection, DriverError, Held, Won } from './dialect.js';

export class PostgresDialect extends Dialect {
  readonly name = 'postgres';
  override readonly prefersBatches = true;
  protected readonly readers: Readers = {
    hex: (column) => `replace(${column}::text, '-', '')`,
    text: (column) => `${column}::text`,
  };

  private readonly statements: NamedStatements;
  private readonly prepared: PreparedStatements<'insert' | 'look'>;
  /** What clean-up deletes rows by. Their place is the cheapest, but rows of two partitions may have the same. */
  private handle: 'ctid' | 'id' = 'ctid';
  private daily: DailyLayout | undefined;
  private readonly upkeep: DailyUpkeep;

  constructor(dataSource: DataSource, names: TableNames, clock?: string) {
    // Not `now()`: that is the start of the transaction.
    super(dataSource, names, clock ?? '(extract(epoch from clock_timestamp()) * 1000)::bigint');
    this.statements = new NamedStatements(dataSource);
    this.prepared = new PreparedStatements(this.withinTransactions());
    this.upkeep = new DailyUpkeep({
      table: names.table,
      plain: names.plain.table,
      now: () => this.ping(),
      select: (sql) => dataSource.query<Row[]>(sql),
      inTurn: (lockMs, work) => this.inTurn(lockMs, work),
    });
  }

  async select(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return this.statements.query<Row[]>(numbered(sql), parameters);
  }

  async execute(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    const [, count] = await this.statements.query<[Row[], number]>(numbered(sql), parameters);
    return count;
  }

  async createTable(): Promise<void> {
    // One message is one transaction. IF NOT EXISTS alone fails when two instances start at once.
    const statements = [
      `SELECT pg_advisory_xact_lock(${this.lockKey()})`,
      ...createStatements('postgres', this.names),
    ];
    await this.dataSource.query(statements.join('; '));
  }

  async hasScopeIndex(): Promise<boolean> {
    const rows = await this.select(
      'SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] ' +
        "WHERE i.indrelid = ?::regclass AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'scope'",
      [this.names.table],
    );
    return rows.length > 0;
  }

  override async checkTable(columns: readonly string[]): Promise<void> {
    // its partitions are not opened: somebody may be at one of them
    await super.checkTable(columns, `ONLY ${this.names.table}`);
    await this.look();
  }

  /** Somebody may divide the table while the application runs. */
  private async look(): Promise<DailyLayout | undefined> {
    const rows = await this.select(partitionsSql(`${literal(this.names.table)}::regclass`));
    this.handle = rows.length > 0 ? 'id' : 'ctid';
    this.daily = dailyLayout(rows);
    this.statements.isForValues = this.daily !== undefined;
    return this.daily;
  }

  override async maintain(): Promise<Upkeep> {
    const layout = await this.look();
    if (layout === undefined) return { deleted: 0 };
    const done = await this.upkeep.run(layout);
    await this.look();
    return done;
  }

  private async inTurn<T>(
    lockMs: number,
    work: (send: (sql: string) => Promise<Row[]>) => Promise<T>,
  ): Promise<T | undefined> {
    const runner = this.dataSource.createQueryRunner();
    const on: Connection = { runner, send: (sql, parameters) => runner.query(sql, parameters) };
    const send = (sql: string): Promise<Row[]> => runner.query(sql) as Promise<Row[]>;
    await this.begin(on, LONGEST_UPKEEP_MS);
    try {
      // who looks a second time has to see what came since the first
      await send('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
      await send(`SET LOCAL lock_timeout = ${lockMs}`);
      await send(`SET LOCAL statement_timeout = ${LONGEST_UPKEEP_MS}`);
      const [turn] = await send(`SELECT pg_try_advisory_xact_lock(${this.lockKey()}) AS ours`);
      const done = turn?.ours === true ? await work(send) : undefined;
      await this.commit(on);
      await this.giveBack(on);
      return done;
    } catch (error) {
      await this.giveUp(on);
      throw error;
    }
  }

  /**
   * One statement that inserts the row or reads it. It never begins with `ON CONFLICT DO UPDATE`,
   * which locks the row and writes even when nothing changes; and a row that is already there is
   * only read, so that a replay takes no lock, draws no number and writes no log.
   */
  async claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    const { table, fence } = this.names;
    const sql = `
      WITH clock AS MATERIALIZED (SELECT ${this.now} AS now),
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
      SELECT true AS inserted, clock.now, ${selectList(this.readers, 'clock.now', { prefix: 'r.' })}
      FROM inserted r, clock
      UNION ALL
      SELECT false, clock.now, ${selectList(this.readers, 'clock.now', { prefix: 'r.' })}
      FROM ${table} r, clock WHERE r.id = $1::uuid`;
    const [row] = await this.statements.query<Row[]>(sql, this.claimParameters(request));
    // No row: somebody inserted it after this statement's snapshot was taken.
    if (!row) return undefined;
    const answer = this.answer(row, request, row.inserted === true ? false : undefined);
    return answer ?? this.takeOver(request, row);
  }

  async claimFree(
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<ReadonlyMap<string, ClaimResult>> {
    const { table, fence } = this.names;
    const columns = selectList(this.readers, 'clock.now', { prefix: 'r.' });
    // set before the first row is inserted, and for this statement alone
    const limit = atOnce ? `, set_config('lock_timeout', '${LONGEST_LOCK_MS}', true) AS lock` : '';
    const sql = `
      WITH clock AS MATERIALIZED (SELECT ${this.now} AS now${limit}),
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
        FROM asked a, clock WHERE NOT EXISTS (SELECT 1 FROM ${table} r WHERE r.id = a.id ${this.among})
        ORDER BY a.id
        ON CONFLICT (id) DO NOTHING
        RETURNING *
      )
      SELECT true AS inserted, clock.now, ${columns} FROM inserted r, clock
      UNION ALL
      SELECT false, clock.now, ${columns} FROM ${table} r, clock
      WHERE r.id IN (SELECT id FROM asked) ${this.among}`;
    const rows = requests.map((request) => this.claimParameters(request));
    const arrays = rows[0]!.map((_, column) => rows.map((row) => row[column]));
    const found = await this.statements.query<Row[]>(sql, arrays);
    return this.answers(found, requests, (row) => row.inserted === true);
  }

  /** Past every row that somebody else holds. */
  async completeAll(requests: readonly CompleteRequest[]): Promise<ReadonlySet<string>> {
    const { table } = this.names;
    const states = requests.map(({ result }) =>
      stateCode(result === null ? 'tombstone' : 'completed'),
    );
    const sql = `
      WITH mine AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bigint[], $5::smallint[])
          AS m (id, owner, result, ttl, state)
      ),
      locked AS MATERIALIZED (
        SELECT r.id FROM ${table} r WHERE (r.id, r.owner) IN (SELECT id, owner FROM mine) ${this.among}
        ORDER BY r.id FOR UPDATE SKIP LOCKED
      ),
      completed AS (
        UPDATE ${table} r SET state = mine.state, result = mine.result,
          expires_at = ${this.now} + mine.ttl, lease_until = NULL, steps = NULL,
          attempts_finished = r.attempts_finished + 1
        FROM mine JOIN locked USING (id)
        WHERE r.id = mine.id AND r.owner = mine.owner AND ${isToSettleSql(this.now, 'r.')} ${this.among}
        RETURNING r.owner
      )
      SELECT ${this.readers.hex('owner')} AS owner FROM completed`;
    const rows = await this.statements.query<Row[]>(sql, [
      requests.map(({ id }) => id),
      requests.map(({ owner }) => owner),
      requests.map(({ result }) => bytes(result)),
      requests.map(({ ttlMs }) => ttlMs),
      states,
    ]);
    return new Set(rows.map((row) => row.owner as string));
  }

  /** Said once more for a plan that opens only the partitions of these ids, the first parameter. */
  private get among(): string {
    return this.daily === undefined ? '' : 'AND r.id = ANY ($1::uuid[])';
  }

  private async takeOver(request: ClaimRequest, dead: Row): Promise<ClaimResult | undefined> {
    const parameters = [...this.claimParameters(request), dead.owner];
    const [row] = await this.statements.query<Row[]>(this.takeOverSql(), parameters);
    return this.answer(row, request, isUnsettled(toRecord(dead)));
  }

  private takeOverSql(): string {
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
      SELECT clock.now, pg_current_xact_id_if_assigned()::text AS xact,
        ${selectList(this.readers, 'clock.now', { prefix: 'r.' })} FROM updated r, clock`;
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

  /** One message for both: a transaction costs no round trip more for its claim. */
  override async beginWith(
    on: Connection,
    request: ClaimRequest,
  ): Promise<Won | Held | 'busy' | undefined> {
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
    const plain = `${begin}; ${this.claimWithinSql(values)}`;
    // a plan for all values would lock every day
    const mayPrepare = this.daily === undefined;
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

  async claimWithin(
    on: Connection,
    request: ClaimRequest,
  ): Promise<Won | Held | 'busy' | undefined> {
    const results = await this.sendTogether(on.runner, this.claimWithinSql(claimValues(request)));
    return this.met(on, request, results);
  }

  private beginSql(idleMs: number): string {
    const { isolationLevel } = this.dataSource.options;
    const level = isolationLevel === undefined ? '' : ` ISOLATION LEVEL ${isolationLevel}`;
    const limit = Math.min(Math.ceil(idleMs), LONGEST_IDLE_MS);
    return `START TRANSACTION${level}; SET LOCAL idle_in_transaction_session_timeout = ${limit}`;
  }

  private withinTransactions(): Record<'insert' | 'look', PreparedStatement> {
    return {
      insert: {
        types: 'uuid, uuid, bytea, text, text, text, bigint, bigint',
        text: this.insertWithinSql(['$1', '$2', '$3', '$4', '$5', '$6', '$7', '$8']),
      },
      look: { types: 'uuid', text: this.lookSql('$1') },
    };
  }

  /** Two plain statements, which the server plans in half the time of one that does both. */
  private claimWithinSql(values: ClaimValues): string {
    return `${this.insertWithinSql(values)}; ${this.lookSql(values[0])}`;
  }

  /** Of those who come at the same time one gets the lock; the others need not wait to be told so. */
  private insertWithinSql([
    id,
    owner,
    fingerprint,
    scope,
    operation,
    key,
    ttl,
    lock,
  ]: ClaimValues): string {
    const { table, fence } = this.names;
    return `
      INSERT INTO ${table} (id, owner, fingerprint, scope, operation, idempotency_key, fence,
        state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
      SELECT ${id}, ${owner}, ${fingerprint}, ${scope}, ${operation}, ${key},
        nextval(${literal(fence)}), ${stateCode('uncertain')}, 1, 0, now, NULL, now + ${ttl}, now + ${ttl}
      FROM (SELECT ${this.now} AS now OFFSET 0) clock
      WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE id = ${id}) AND pg_try_advisory_xact_lock(${lock})
      ON CONFLICT (id) DO NOTHING
      RETURNING pg_current_xact_id()::text AS xact`;
  }

  private lookSql(id: string): string {
    return `SELECT ${this.now} AS now, ${selectList(this.readers, this.now)} FROM ${this.names.table} WHERE id = ${id}`;
  }

  private async met(
    { send }: Connection,
    request: ClaimRequest,
    results: readonly PgResult[],
  ): Promise<Won | Held | 'busy' | undefined> {
    const [inserted, seen] = results.slice(-2).map(({ rows }) => rows[0]);
    if (inserted !== undefined && seen !== undefined) {
      return { type: 'won', claimed: won(seen, false), mark: inserted.xact as string };
    }
    const held = heldBy(seen);
    if (isOwn(held, request)) {
      const [[own]] = (await send(this.takeOwnSql(request))) as [Row[], number];
      if (own === undefined) return 'busy';
      return { type: 'won', claimed: won(seen as Row, false), mark: own.xact as string };
    }
    if (held !== undefined) {
      return held;
    }
    const lock = `SELECT pg_try_advisory_xact_lock(${lockOf(request.id)}) AS ours`;
    const [turn] = (await send(lock)) as Row[];
    if (turn?.ours !== true) {
      return 'busy';
    }
    return seen && this.takeOverWithin(send, withoutLease(request), seen);
  }

  private async takeOverWithin(
    send: Connection['send'],
    request: ClaimRequest,
    dead: Row,
  ): Promise<Won | undefined> {
    const parameters = [...this.claimParameters(request), dead.owner];
    const [row] = (await send(this.takeOverSql(), parameters)) as Row[];
    return (
      row && {
        type: 'won',
        claimed: won(row, isUnsettled(toRecord(dead))),
        mark: row.xact as string,
      }
    );
  }

  /** One message: a kept start costs one round trip, and one commit, more. */
  protected override async keepStart(
    { runner }: Connection,
    request: ClaimRequest,
    first: Won,
  ): Promise<Won | undefined> {
    const { id, owner, leaseMs } = request;
    const results = await this.sendTogether(
      runner,
      `UPDATE ${this.names.table}
         SET state = ${stateCode('in-progress')}, lease_until = ${this.now} + ${Number(leaseMs)}::bigint
         WHERE id = '${hexOnly(id)}'::uuid AND owner = '${hexOnly(owner)}'::uuid;
       COMMIT; ${this.beginSql(leaseMs)}; ${this.takeOwnSql(request)}`,
    );
    const own = results.at(-1)?.rows[0];
    return own && { ...first, mark: own.xact as string };
  }

  /** Nobody else is in a transaction with it, nor will be when its lease is over. */
  private takeOwnSql({ id, owner }: Claim): string {
    return `
      UPDATE ${this.names.table} SET state = ${stateCode('uncertain')}, lease_until = NULL
      WHERE id = '${hexOnly(id)}'::uuid AND owner = '${hexOnly(owner)}'::uuid
        AND ${isInProgressSql(this.now)} AND pg_try_advisory_xact_lock(${lockOf(id)})
      RETURNING pg_current_xact_id()::text AS xact`;
  }

  async completeWithin(on: Connection, request: CompleteRequest, mark: string): Promise<boolean> {
    const { sql, parameters } = this.completion(request, `${IS_PART_OF} = ?`);
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
    const state = stateCode(result === null ? 'tombstone' : 'completed');
    return `
      WITH done AS (
        UPDATE ${this.names.table} SET state = ${state}, result = ${hexBytes(result)},
          expires_at = ${this.now} + ${Number(ttlMs)}::bigint, lease_until = NULL, steps = NULL,
          attempts_finished = attempts_finished + 1
        WHERE id = ${uuid(id)} AND owner = ${uuid(owner)} AND ${IS_PART_OF} = '${hexOnly(mark)}'
        RETURNING 1
      )
      SELECT 1 / count(*) FROM done`;
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
    const [, count] = (await send(numbered(sql), [...parameters])) as [Row[], number];
    return count;
  }

  isOver(runner: QueryRunner): boolean {
    return heldClient(runner)?.getTransactionStatus?.() === 'I';
  }

  override placed(sql: string): string {
    return numbered(sql);
  }

  async discard({ runner }: Pick<Connection, 'runner'>): Promise<void> {
    // with an error the pool ends the connection instead of lending it again
    const { releasePostgresConnection } = runner as unknown as Discardable;
    await releasePostgresConnection.call(runner, new Error('given up'));
  }

  private claimParameters(request: ClaimRequest): unknown[] {
    const { id, owner, fingerprint, scope, operation, key, leaseMs, ttlMs } = request;
    const texts = [scope, operation, key].map(printable);
    return [id, owner, bytes(fingerprint), ...texts, leaseMs, ttlMs, claimState(request)];
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const sql = `
      WITH renewed AS (
        UPDATE ${this.names.table} r SET lease_until = ${this.now} + $3::bigint
        FROM unnest($1::uuid[], $2::uuid[]) AS mine (id, owner)
        WHERE r.id = mine.id AND r.owner = mine.owner AND ${isInProgressSql(this.now)} ${this.among}
        RETURNING r.owner
      )
      SELECT ${this.readers.hex('owner')} AS owner FROM renewed`;
    const ids = claims.map(({ id }) => id);
    const owners = claims.map(({ owner }) => owner);
    const rows = await this.statements.query<Row[]>(sql, [ids, owners, leaseMs]);
    return new Set(rows.map((row) => row.owner as string));
  }

  /** A row waits for its day before it counts as left lying. */
  protected override due(): [condition: string, ...parameters: unknown[]] {
    const [due] = super.due();
    if (this.daily === undefined) return [due];
    const isOutside = 'id < ?::uuid OR id >= ?::uuid';
    return [`${due} AND (${isOutside} OR ${isLeftOver(this.now)})`, ...idsOfDays(this.daily)];
  }

  /** One statement for any number of them, which is planned once. */
  protected override oneOf(ids: readonly string[]): { condition: string; parameters: unknown[] } {
    return { condition: 'id = ANY (?::uuid[])', parameters: [ids] };
  }

  /** One instance at a time, and past every row that somebody else holds: nobody waits for cleanup. */
  async deleteExpired(limit: number): Promise<number> {
    if (this.daily === undefined) return this.deleteDue(limit, 'true');
    // ids that have no day's partition first; of the others what is left over of days that cannot go as a whole
    const outside = 'r.id < $2::uuid OR r.id >= $3::uuid';
    const deleted = await this.deleteDue(limit, outside, idsOfDays(this.daily));
    if (deleted === limit) return deleted;
    return deleted + (await this.deleteDue(limit - deleted, isLeftOver('now')));
  }

  private async deleteDue(
    limit: number,
    condition: string,
    ids: readonly string[] = [],
  ): Promise<number> {
    const { handle } = this;
    const { table } = this.names;
    // looked at once more: what was a row's place may be that of another one since the table was divided
    const sql = `
      WITH clock AS MATERIALIZED (SELECT ${this.now} AS now),
      turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(${this.lockKey()}) AS ours),
      deleted AS (
        DELETE FROM ${table} USING clock WHERE ${handle} = ANY (ARRAY (
          SELECT r.${handle} FROM turn, clock, ${table} r
          WHERE turn.ours AND ${isDueSql('now')} AND (${condition})
          ORDER BY r.sweep_at LIMIT $1 FOR UPDATE OF r SKIP LOCKED
        )) AND ${isDueSql('now')}
        RETURNING 1
      )
      SELECT count(*)::int AS count FROM deleted`;
    const [row] = await this.statements.query<Row[]>(sql, [limit, ...ids]);
    return Number(row?.count);
  }

  isTransient({ code }: DriverError): boolean {
    return code === SERIALIZATION_FAILURE || code === DEADLOCK;
  }

  isSavepointMissing({ code }: DriverError): boolean {
    return code === NO_SUCH_SAVEPOINT || code === NO_TRANSACTION;
  }

  isRefusal({ code }: DriverError): boolean {
    return code !== undefined && SQLSTATE.test(code) && !CONNECTION_LOST.test(code);
  }

  isSchemaMissing({ code }: DriverError): boolean {
    return code === UNDEFINED_TABLE || code === UNDEFINED_COLUMN || code === INVALID_SCHEMA;
  }

  protected token(hex: string): string {
    return hex;
  }

  protected bindText(text: string | null): string | null {
    return printable(text);
  }

  private lockKey(): string {
    return `hashtextextended(${literal(`idempotency ${this.names.table}`)}, 0)`;
  }
}

/** The first one of the days that have partitions, and the first one behind them. */
function idsOfDays({ days }: DailyLayout): [string, string] {
  return [firstIdOf(days[0]?.from ?? 0), firstIdOf(days.at(-1)?.to ?? 0)];
}

/** The row should have gone with its day, and has waited long enough for that. */
function isLeftOver(now: string): string {
  return `sweep_at <= ${now} - ${2 * DAY_MS}`;
}

async function clientOf(runner: QueryRunner): Promise<PgClient> {
  return (await runner.connect()) as PgClient;
}

/** Of a runner that is connected. */
function heldClient(runner: QueryRunner): PgClient | undefined {
  return (runner as unknown as { databaseConnection?: PgClient }).databaseConnection;
}

function rolledBack(): Error {
  return Object.assign(new Error('COMMIT was answered with ROLLBACK'), {
    code: TRANSACTION_FAILED,
  });
}

/** As TypeORM has it. */
async function begun(runner: QueryRunner): Promise<void> {
  Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
  await runner.broadcaster.broadcast('AfterTransactionStart');
}

/** The row that was written in this very transaction. */
const IS_PART_OF = 'state = 2 AND lease_until IS NULL AND pg_current_xact_id()::text';
/** Larger results travel as parameters, by themselves. */
const LARGEST_INLINE = 65_536;

interface Discardable {
  releasePostgresConnection(error: Error): Promise<void>;
}

/** Reading a day's records, and nothing else, takes that long. */
const LONGEST_UPKEEP_MS = 300_000;
/** Longer than it takes to commit. */
const LONGEST_LOCK_MS = 50;
/** PostgreSQL takes no more. */
const LONGEST_IDLE_MS = 2 ** 31 - 1;
const SQLSTATE = /^[0-9A-Z]{5}$/;
/** Connection exceptions, and shutdowns by the administrator or a time-out. */
const CONNECTION_LOST = /^(08|57P|25P03)/;
const NO_SUCH_SAVEPOINT = '3B001';
const NO_TRANSACTION = '25P01';
const TRANSACTION_FAILED = '25P02';
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';
const UNDEFINED_TABLE = '42P01';
const UNDEFINED_COLUMN = '42703';
const INVALID_SCHEMA = '3F000';

/** A lock of the record's own, until the transaction ends: the half of its id that is all digest. */
function lockOf(id: string): string {
  return BigInt.asIntN(64, BigInt(`0x${id.slice(16)}`)).toString();
}

/** SQL expressions: literals, in which what came from outside is in hex, or the parameters of a prepared statement. */
type ClaimValues = readonly [
  id: string,
  owner: string,
  fingerprint: string,
  scope: string,
  operation: string,
  key: string,
  ttl: string,
  lock: string,
];

function claimValues(request: ClaimRequest): ClaimValues {
  const { id, owner, fingerprint, scope, operation, key, ttlMs } = request;
  return [
    uuid(id),
    uuid(owner),
    hexBytes(fingerprint),
    hexText(printable(scope)),
    hexText(printable(operation)),
    hexText(printable(key)),
    `${Number(ttlMs)}::bigint`,
    lockOf(id),
  ];
}

function uuid(hex: string): string {
  return `'${hexOnly(hex)}'::uuid`;
}

/** @throws for what is no hex, and so could be anything else to the database */
function hexOnly(hex: string): string {
  if (!/^[0-9a-f]*$/.test(hex)) {
    throw new Error('not hex');
  }
  return hex;
}

function hexBytes(value: Uint8Array | null): string {
  return value === null ? 'NULL' : `decode('${bytes(value)!.toString('hex')}', 'hex')`;
}

function hexText(text: string | null): string {
  return text === null
    ? 'NULL'
    : `convert_from(decode('${Buffer.from(text).toString('hex')}', 'hex'), 'UTF8')`;
}

function numbered(sql: string): string {
  let position = 0;
  return sql.replaceAll('?', () => `$${++position}`);
}
