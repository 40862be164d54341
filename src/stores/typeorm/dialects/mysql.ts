import type { DataSource, QueryRunner } from 'typeorm';
import type { Claim, ClaimRequest, ClaimResult, CompleteRequest } from '../../../engine/store.js';
import { createStatements } from '../ddl.js';
import { driverError } from '../errors.js';
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
import { misconfigured } from '../schema.js';
import type { DialectName, TableNames } from '../schema.js';
import { Dialect, bytes, heldBy, isOwn, newMark, withoutLease, won } from './dialect.js';
import type { Connection, DriverError, Held, Won } from './dialect.js';

/** Bound as bytes: the text then is safe and exact under any `sql_mode` and connection charset. */
const TEXT = 'CONVERT(? USING utf8mb4)';

/**
 * MySQL: no `RETURNING` and no sequences. The winner of a claim is known by its own owner read back,
 * never by a count of rows, which means another thing with the driver's default flags. Never
 * `INSERT IGNORE` (it hides every error) nor `ON DUPLICATE KEY UPDATE` (it locks what it only reads).
 */
export class MySqlDialect extends Dialect {
  readonly name: DialectName = 'mysql';
  protected readonly readers: Readers = {
    hex: (column) => `LOWER(HEX(${column}))`,
    text: (column) => `CAST(${column} AS CHAR)`,
  };
  /** Before a statement that fails where it would have to wait for a row. MySQL has no words for it. */
  protected readonly withoutWaiting: string = '';
  /** In a transaction at that level every read locks, and of what is not there a whole gap. */
  private readsLock = this.dataSource.options.isolationLevel === 'SERIALIZABLE';
  private readonly locks = new WeakMap<QueryRunner, string[]>();

  constructor(dataSource: DataSource, names: TableNames, clock?: string) {
    // In UTC: in a session's own time zone an hour is missing, or there twice, at a clock change.
    const now = `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)`;
    super(dataSource, names, clock ?? now);
  }

  async select(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return this.dataSource.query<Row[]>(sql, [...parameters]);
  }

  async execute(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    const { affectedRows } = await this.dataSource.query<Affected>(sql, [...parameters]);
    return affectedRows;
  }

  async createTable(): Promise<void> {
    for (const statement of createStatements(this.name, this.names)) {
      await this.dataSource.query(statement);
    }
  }

  override async checkTable(columns: readonly string[]): Promise<void> {
    await super.checkTable(columns);
    const [level] = await this.select(
      `SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')`,
    );
    this.readsLock ||= level?.Value === 'SERIALIZABLE';
    if (level?.Value === 'READ-UNCOMMITTED') {
      throw misconfigured(
        'The sessions of the DataSource of the idempotency store run at READ UNCOMMITTED, where a ' +
          'retry could be given an outcome that is rolled back later. Set them to READ COMMITTED or higher.',
      );
    }
  }

  async hasScopeIndex(): Promise<boolean> {
    const rows = await this.select(
      `SHOW INDEX FROM ${this.names.table} WHERE Column_name = 'scope' AND Seq_in_index = 1`,
    );
    return rows.length > 0;
  }

  /** A statement outside a transaction has a snapshot of its own, at every isolation level. */
  async claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    const read = `SELECT ${this.now} AS now, ${this.columns()} FROM ${this.names.table} WHERE id = ?`;
    const id = this.token(request.id);
    const [seen] = await this.select(read, [id]);
    const held = this.answer(seen, request);
    if (held) return held;
    // The number drawn last belongs to the connection, so keep it until it is written.
    const runner = this.dataSource.createQueryRunner('master');
    try {
      await runner.query(`INSERT INTO ${this.names.fence} () VALUES ()`);
      if (seen) await this.takeOver(runner, request, seen);
      else await this.insert(runner, request);
      const [row] = (await runner.query(read, [id])) as Row[];
      return this.answer(row, request, seen !== undefined && isUnsettled(toRecord(seen)));
    } finally {
      await runner.release();
    }
  }

  async claimFree(
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<ReadonlyMap<string, ClaimResult>> {
    const ids = requests.map(({ id }) => this.token(id));
    const read =
      `SELECT ${this.now} AS now, ${this.columns()} FROM ${this.names.table} ` +
      `WHERE id IN (${ids.map(() => '?').join(', ')})`;
    const seen = await this.select(read, ids);
    const known = new Set(seen.map((row) => row.id));
    const free = requests.filter(({ id }) => !known.has(id));
    if (free.length === 0) return this.answers(seen, requests, () => false);
    const runner = this.dataSource.createQueryRunner('master');
    try {
      await this.insertAll(runner, free, atOnce);
      const rows = (await runner.query(read, ids)) as Row[];
      return this.answers(rows, requests, (row) => !known.has(row.id));
    } catch (error) {
      // somebody was faster with one of them: it tells nothing of the others
      if (driverError(error).errno !== DUPLICATE) throw error;
      return this.answers(seen, requests, () => false);
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
    await runner.query(`INSERT INTO ${this.names.fence} () VALUES ${drawn}`);
    const rows = requests.map((_, n) =>
      this.rowSql(`LAST_INSERT_ID() + ${n} * @@SESSION.auto_increment_increment`),
    );
    await this.sendAll(runner, rows, requests, atOnce);
  }

  protected async sendAll(
    runner: QueryRunner,
    rows: readonly string[],
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<void> {
    const parameters = requests.flatMap((request) => this.insertParameters(request));
    const limit = atOnce ? this.withoutWaiting : '';
    await runner.query(`${limit}${this.insertIntoSql()} ${rows.join(', ')}`, parameters);
  }

  /** All of them or, as far as is known, none. */
  async completeAll(
    requests: readonly CompleteRequest[],
    atOnce: boolean,
  ): Promise<ReadonlySet<string>> {
    const one = 'SELECT ? AS id, ? AS owner, ? AS result, ? AS ttl, ? AS state';
    const sql = `
      ${atOnce ? this.withoutWaiting : ''}UPDATE ${this.names.table} r JOIN (${requests.map(() => one).join(' UNION ALL ')}) m
        ON r.id = m.id AND r.owner = m.owner
      SET r.state = m.state, r.result = m.result, r.expires_at = ${this.now} + m.ttl,
        r.lease_until = NULL, r.steps = NULL, r.attempts_finished = r.attempts_finished + 1
      WHERE ${isToSettleSql(this.now, 'r.')}`;
    const parameters = requests.flatMap(({ id, owner, result, ttlMs }) => [
      this.token(id),
      this.token(owner),
      bytes(result),
      ttlMs,
      stateCode(result === null ? 'tombstone' : 'completed'),
    ]);
    const count = await this.execute(sql, parameters);
    return new Set(count === requests.length ? requests.map(({ owner }) => owner) : []);
  }

  private async insert(runner: QueryRunner, request: ClaimRequest): Promise<void> {
    try {
      await runner.query(this.insertSql('LAST_INSERT_ID()'), this.insertParameters(request));
    } catch (error) {
      if (driverError(error).errno !== DUPLICATE) throw error;
    }
  }

  private async takeOver(runner: QueryRunner, request: ClaimRequest, dead: Row): Promise<void> {
    const seenOwner = this.token(dead.owner as string);
    await runner.query(this.takeOverSql('LAST_INSERT_ID()', '?'), [
      ...this.takeOverParameters(request),
      seenOwner,
    ]);
  }

  /** While a transaction is open, the server waits for its next statement no longer than that. */
  async begin({ runner, send }: Connection, idleMs: number): Promise<void> {
    const seconds = Math.min(Math.max(1, Math.ceil(idleMs / 1000)), LONGEST_WAIT_SECONDS);
    const limit = `SET @nestjs_idempotency_wait = @@SESSION.wait_timeout, SESSION wait_timeout = ?`;
    try {
      await send(limit, [seconds]);
      await runner.startTransaction();
    } catch (error) {
      await this.discard({ runner });
      throw error;
    }
  }

  async claimWithin(
    on: Connection,
    request: ClaimRequest,
  ): Promise<Won | Held | 'busy' | undefined> {
    const isOurs = await this.lock(on, request.id);
    if (this.readsLock && !isOurs) return 'busy';
    const unleased = withoutLease(request);
    let seen = this.readsLock ? undefined : await this.look(on, request);
    try {
      if (this.readsLock && !(await this.writeWithin(on, unleased, undefined))) {
        seen = await this.look(on, request);
        if (seen === undefined) return undefined;
      }
      const held = heldBy(seen);
      if (isOwn(held, request)) {
        return isOurs ? await this.takeOwn(on, request, won(seen as Row, false)) : 'busy';
      }
      if (held !== undefined || !isOurs) return held ?? 'busy';
      const isWritten = this.readsLock && seen === undefined;
      if (!isWritten && !(await this.writeWithin(on, unleased, seen))) return undefined;
    } catch (error) {
      if (driverError(error).errno === LOCK_WAIT_TIMEOUT) return 'busy';
      throw error;
    }
    const row = await this.look(on, request);
    if (row?.owner !== request.owner) return undefined;
    const takenOver = seen !== undefined && isUnsettled(toRecord(seen));
    return this.marked(on, won(row, takenOver));
  }

  /** The session keeps its time-out. */
  protected async keepStart(
    on: Connection,
    request: ClaimRequest,
    { claimed }: Won,
  ): Promise<Won | undefined> {
    const { isolationLevel } = this.dataSource.options;
    const { id, owner, leaseMs } = request;
    await this.affected(on, this.leaseSql(), [leaseMs, this.token(id), this.token(owner)]);
    await on.send('COMMIT');
    if (isolationLevel !== undefined) {
      await on.send(`SET TRANSACTION ISOLATION LEVEL ${isolationLevel}`);
    }
    await on.send('START TRANSACTION');
    return this.takeOwn(on, request, claimed);
  }

  private async takeOwn(
    on: Connection,
    { id, owner }: Claim,
    claimed: Won['claimed'],
  ): Promise<Won | undefined> {
    const own = [this.token(id), this.token(owner)];
    const isOurs = (await this.affected(on, `${this.withoutWaiting}${this.ownSql()}`, own)) > 0;
    return isOurs ? this.marked(on, claimed) : undefined;
  }

  private async marked(on: Connection, claimed: Won['claimed']): Promise<Won> {
    const mark = newMark();
    await on.send(`SAVEPOINT ${mark}`);
    return { type: 'won', claimed, mark };
  }

  async completeWithin(on: Connection, request: CompleteRequest, mark: string): Promise<boolean> {
    try {
      await on.send(`RELEASE SAVEPOINT ${mark}`);
    } catch (error) {
      if (this.isSavepointMissing(driverError(error))) return false;
      throw error;
    }
    const { sql, parameters } = this.completion(request, 'state = 2 AND lease_until IS NULL');
    return (await this.affected(on, sql, parameters)) > 0;
  }

  protected async affected(
    { send }: Connection,
    sql: string,
    parameters: readonly unknown[],
  ): Promise<number> {
    const { affectedRows } = (await send(sql, [...parameters])) as Affected;
    return affectedRows;
  }

  override async giveBack(on: Connection): Promise<void> {
    await on.send('SET SESSION wait_timeout = @nestjs_idempotency_wait');
    for (const name of this.locks.get(on.runner) ?? []) {
      await on.send(`DO RELEASE_LOCK(${LOCK_NAME})`, [name]);
    }
    await super.giveBack(on);
  }

  async discard({ runner }: Pick<Connection, 'runner'>): Promise<void> {
    const { databaseConnection } = runner as unknown as { databaseConnection?: Destroyable };
    databaseConnection?.destroy();
    Object.assign(runner, { isReleased: true });
  }

  /** An insert would wait for another transaction with the same key; a lock of its own says so at once. */
  protected async lock({ runner, send }: Connection, id: string): Promise<boolean> {
    const name = `${this.names.table} ${id}`;
    const [turn] = (await send(`SELECT GET_LOCK(${LOCK_NAME}, 0) AS ours`, [name])) as Row[];
    if (Number(turn?.ours) !== 1) return false;
    this.locks.set(runner, [...(this.locks.get(runner) ?? []), name]);
    return true;
  }

  private async look({ send }: Connection, { id }: ClaimRequest): Promise<Row | undefined> {
    const sql = `SELECT ${this.now} AS now, ${this.columns()} FROM ${this.names.table} WHERE id = ?`;
    const [row] = (await send(sql, [this.token(id)])) as Row[];
    return row;
  }

  /** False when there is a row where none was seen. */
  private async writeWithin(
    on: Connection,
    request: ClaimRequest,
    seen: Row | undefined,
  ): Promise<boolean> {
    try {
      await this.sendWithin(on, request, seen);
      return true;
    } catch (error) {
      if (driverError(error).errno === DUPLICATE) return false;
      throw error;
    }
  }

  protected async sendWithin(
    { send }: Connection,
    request: ClaimRequest,
    seen: Row | undefined,
  ): Promise<void> {
    await send(`INSERT INTO ${this.names.fence} () VALUES ()`);
    if (seen === undefined) {
      await send(this.insertSql('LAST_INSERT_ID()'), this.insertParameters(request));
    } else {
      const owner = this.token(seen.owner as string);
      const parameters = [...this.takeOverParameters(request), owner];
      await send(this.takeOverSql('LAST_INSERT_ID()', '?'), parameters);
    }
  }

  protected columns(): string {
    return selectList(this.readers, this.now);
  }

  protected insertSql(nextFence: string): string {
    return `${this.insertIntoSql()} ${this.rowSql(nextFence)}`;
  }

  private insertIntoSql(): string {
    return `
      INSERT INTO ${this.names.table} (id, owner, fingerprint, scope, operation, idempotency_key,
        fence, state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at,
        sweep_at) VALUES`;
  }

  protected rowSql(nextFence: string): string {
    return `(?, ?, ?, ${TEXT}, ${TEXT}, ${TEXT},
        ${nextFence}, ?, 1, 0, ${this.now}, ${this.now} + ?, ${this.now} + ?, ${this.now} + ?)`;
  }

  protected insertParameters(request: ClaimRequest): unknown[] {
    const { id, leaseMs, ttlMs } = request;
    const named = this.claimParameters(request);
    return [this.token(id), ...named, claimState(request), leaseMs, ttlMs, ttlMs];
  }

  /** Assignments run from left to right, so the counts come before the state they look at. */
  protected takeOverSql(nextFence: string, seenOwner: string): string {
    return `
      UPDATE ${this.names.table} SET ${NEXT_ATTEMPT_SQL}, owner = ?, fingerprint = ?,
        scope = ${TEXT}, operation = ${TEXT}, idempotency_key = ${TEXT},
        fence = ${nextFence}, claimed_at = ${this.now}, result = NULL,
        lease_until = ${this.now} + ?, expires_at = ${this.now} + ?, state = ?
      WHERE id = ? AND owner = ${seenOwner} AND ${isDeadSql(this.now)}`;
  }

  protected takeOverParameters(request: ClaimRequest): unknown[] {
    const { id, leaseMs, ttlMs } = request;
    const named = this.claimParameters(request);
    return [...named, leaseMs, ttlMs, claimState(request), this.token(id)];
  }

  private claimParameters(request: ClaimRequest): unknown[] {
    const { owner, fingerprint, scope, operation, key } = request;
    const texts = [scope, operation, key].map((text) => this.bindText(text));
    return [this.token(owner), bytes(fingerprint), ...texts];
  }

  /** Which ones were renewed is read back, because a count of rows does not say. */
  async renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const { table } = this.names;
    const list = (item: string): string => claims.map(() => item).join(', ');
    // Pairs alone are not looked up in the index, and would lock the whole table.
    const mine =
      `id IN (${list('?')}) AND (id, owner) IN (${list('(?, ?)')}) ` +
      `AND ${isInProgressSql(this.now)}`;
    const parameters = [
      ...claims.map(({ id }) => this.token(id)),
      ...claims.flatMap(({ id, owner }) => [this.token(id), this.token(owner)]),
    ];
    const update = `UPDATE ${table} SET lease_until = ${this.now} + ? WHERE ${mine}`;
    await this.execute(update, [leaseMs, ...parameters]);
    const read = `SELECT ${this.readers.hex('owner')} AS owner FROM ${table} WHERE ${mine}`;
    const rows = await this.select(read, parameters);
    return new Set(rows.map((row) => row.owner as string));
  }

  /**
   * One instance at a time. The rows are looked for without locks and deleted by their ids: a
   * `DELETE` that searches locks the gaps it walks through, and new claims would wait for it.
   */
  async deleteExpired(limit: number): Promise<number> {
    const runner = this.dataSource.createQueryRunner('master');
    const query = async <T>(sql: string, parameters: unknown[]): Promise<T> =>
      (await runner.query(sql, parameters)) as T;
    // Names of locks are global to the server and at most 64 characters long.
    const lock = `CONCAT('idempotency ', SHA1(CONCAT_WS('.', DATABASE(), ${TEXT})))`;
    const name = Buffer.from(this.names.table);
    try {
      const [turn] = await query<Row[]>(`SELECT GET_LOCK(${lock}, 0) AS ours`, [name]);
      if (Number(turn?.ours) !== 1) return 0;
      try {
        return await this.deleteBatch(query, limit);
      } finally {
        await runner.query(`SELECT RELEASE_LOCK(${lock})`, [name]);
      }
    } finally {
      await runner.release();
    }
  }

  private async deleteBatch(query: Query, limit: number): Promise<number> {
    const { table } = this.names;
    const due = isDueSql(this.now);
    const rows = await query<Row[]>(
      `SELECT id FROM ${table} WHERE ${due} ORDER BY sweep_at LIMIT ?`,
      [limit],
    );
    await this.trimFence(query);
    if (rows.length === 0) return 0;
    const ids = rows.map((row) => row.id);
    const list = ids.map(() => '?').join(', ');
    const sql = `DELETE FROM ${table} WHERE id IN (${list}) AND ${due}`;
    return (await query<Affected>(sql, ids)).affectedRows;
  }

  /** Every claim leaves a row in the fence. The newest stays: older servers forget the counter. */
  protected async trimFence(query: Query): Promise<void> {
    const { fence } = this.names;
    const [row] = await query<Row[]>(`SELECT CAST(MAX(id) AS CHAR) AS newest FROM ${fence}`, []);
    const sql = `DELETE FROM ${fence} WHERE id < ? ORDER BY id LIMIT 100000`;
    if (row?.newest) await query(sql, [row.newest]);
  }

  isTransient({ errno }: DriverError): boolean {
    return errno === LOCK_WAIT_TIMEOUT || errno === DEADLOCK || errno === RECORD_CHANGED;
  }

  /** After a wait that timed out, the next one might as well. */
  override isConflict({ errno }: DriverError): boolean {
    return errno === DEADLOCK || errno === RECORD_CHANGED;
  }

  isSavepointMissing({ errno }: DriverError): boolean {
    return errno === NO_SUCH_SAVEPOINT;
  }

  isRefusal({ errno }: DriverError): boolean {
    // errors of the network have negative numbers
    return errno !== undefined && errno > 0 && !CONNECTION_LOST.has(errno);
  }

  /** Everything but rows is answered with the state of the session. */
  isOver(_: QueryRunner, answer: unknown): boolean {
    const { serverStatus } = Object(answer) as { serverStatus?: number };
    return serverStatus !== undefined && (serverStatus & IN_TRANSACTION) === 0;
  }

  override hasEndedTransaction(error: DriverError): boolean {
    return this.isConflict(error);
  }

  isSchemaMissing({ errno }: DriverError): boolean {
    return errno === NO_SUCH_TABLE || errno === UNKNOWN_COLUMN || errno === UNKNOWN_DATABASE;
  }

  protected token(hex: string): Buffer {
    return Buffer.from(hex, 'hex');
  }

  /** By the index, and then as bytes, because every collation, the binary one too, ignores blanks at the end. */
  protected override scopeIs(scope: unknown): [string, ...unknown[]] {
    return [
      'scope = CONVERT(? USING utf8mb4) COLLATE utf8mb4_bin AND CAST(scope AS BINARY) = ?',
      scope,
      scope,
    ];
  }

  protected bindText(text: string | null): Buffer | null {
    return text === null ? null : Buffer.from(text);
  }
}

interface Destroyable {
  destroy(): void;
}

type Query = <T>(sql: string, parameters: unknown[]) => Promise<T>;

interface Affected {
  readonly affectedRows: number;
}

/** Names of locks are global to the server, and at most 64 characters long. */
const LOCK_NAME = `CONCAT('idempotency ', SHA1(CONCAT_WS('.', DATABASE(), ?)))`;
/** What the server says of every answer, as a bit of its status. */
const IN_TRANSACTION = 1;
/** The server takes no more (a year). */
const LONGEST_WAIT_SECONDS = 31_536_000;
/** Shutdown, an error in the middle of COMMIT, aborted or killed connections, and time-outs of silent ones. */
const CONNECTION_LOST = new Set([1053, 1180, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031]);
const RECORD_CHANGED = 1020;
const UNKNOWN_DATABASE = 1049;
const UNKNOWN_COLUMN = 1054;
export const DUPLICATE = 1062;
const NO_SUCH_TABLE = 1146;
const LOCK_WAIT_TIMEOUT = 1205;
const NO_SUCH_SAVEPOINT = 1305;
const DEADLOCK = 1213;
