import type { DataSource, QueryRunner } from 'typeorm';
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  CountFilter,
  ListFilter,
  SettleResult,
  StoredRecord,
  Upkeep,
} from '../../../engine/store.js';
import {
  ABSENT_SQL,
  RELEASED,
  isDeadSql,
  isDueSql,
  isLive,
  isLiveSql,
  isOwnedSql,
  isToSettleSql,
  isWaitingSql,
  selectList,
  stateCode,
  stateSql,
  toBytes,
  toRecord,
} from '../rows.js';
import type { Readers, Row } from '../rows.js';
import type { DialectName, TableNames } from '../schema.js';

/**
 * The store contract for one database. What can be said in the same words everywhere is here;
 * claiming, renewing and cleanup are where databases differ. Statements are written with `?`.
 */
export abstract class Dialect {
  abstract readonly name: DialectName;
  /** Is it faster to send in one statement what comes at the same time? */
  readonly prefersBatches: boolean = false;
  protected abstract readonly readers: Readers;

  constructor(
    protected readonly dataSource: DataSource,
    protected readonly names: TableNames,
    /** The database's clock: a SQL expression for epoch milliseconds. */
    readonly now: string,
  ) {}

  /** Runs a query and answers its rows. */
  abstract select(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
  /** Runs one INSERT, UPDATE or DELETE and answers how many rows it met. */
  abstract execute(sql: string, parameters?: readonly unknown[]): Promise<number>;
  abstract hasScopeIndex(): Promise<boolean>;
  /** Creates the table where it is missing, while others may be at it too. */
  abstract createTable(): Promise<void>;
  /** `undefined`: lost a race and saw nobody; look again. */
  abstract claim(request: ClaimRequest): Promise<ClaimResult | undefined>;
  /**
   * Claims those that have no row, and reads the others, in the order given: one for each record. Missing in the
   * answer, by record, are those whose row is dead, or that somebody else was faster with: they have to be claimed.
   *
   * @param atOnce fails where it would have to wait longer than others do for their commit
   */
  abstract claimFree(
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<ReadonlyMap<string, ClaimResult>>;
  /** Completes some of those that may be completed, one for each record, and answers the owners of these. */
  abstract completeAll(
    requests: readonly CompleteRequest[],
    atOnce: boolean,
  ): Promise<ReadonlySet<string>>;
  abstract renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>>;
  abstract deleteExpired(limit: number): Promise<number>;
  async maintain(): Promise<Upkeep> {
    return { deleted: 0 };
  }

  /** Did the database give up a statement (deadlock, serialization, busy) that may just be sent again? */
  abstract isTransient(error: DriverError): boolean;
  /** Did it give up a transaction because of others at the same time, so that it may just be run again? */
  isConflict(error: DriverError): boolean {
    return this.isTransient(error);
  }

  /** Is the savepoint gone, and with it the transaction that it was set in? */
  abstract isSavepointMissing(error: DriverError): boolean;

  /** Did the database itself say so, and is it still there? */
  abstract isRefusal(error: DriverError): boolean;

  /** Has this error rolled back the whole transaction, so that the next statement would commit by itself? */
  hasEndedTransaction(_error: DriverError): boolean {
    return false;
  }

  /** Is the transaction over after a statement that was answered so? Unknown counts as no. */
  abstract isOver(runner: QueryRunner, answer: unknown): boolean;

  /** Was the claim committed with what its transaction did, or undone? Before it, it may have had a lease. */
  async isKept({ send }: Connection, { id, owner }: Claim): Promise<boolean> {
    const sql =
      `SELECT 1 FROM ${this.names.table} WHERE id = ? AND owner = ? ` +
      `AND state = ${stateCode('uncertain')} AND lease_until IS NULL`;
    const rows = (await send(this.placed(sql), [this.token(id), this.token(owner)])) as Row[];
    return rows.length > 0;
  }

  /** The statement with the placeholders of this database. */
  placed(sql: string): string {
    return sql;
  }

  /** Does the error say that a table, sequence or column is not there? */
  abstract isSchemaMissing(error: DriverError): boolean;

  /**
   * Opens a transaction that the server ends when its owner falls silent for longer than `idleMs`. When
   * this throws, nothing is left open.
   */
  abstract begin(on: Connection, idleMs: number): Promise<void>;
  /**
   * As `claim`, in the open transaction, and waiting for nobody. The row is written as an uncertain one:
   * should the work commit by itself, that is what its outcome is. A live claim of the same owner is taken into the
   * transaction. `undefined`: lost a race; begin again.
   */
  abstract claimWithin(
    on: Connection,
    request: ClaimRequest,
  ): Promise<Won | Held | 'busy' | undefined>;
  /** Opens a transaction and claims in it. When this throws, nothing is left open. */
  async beginWith(on: Connection, request: ClaimRequest): Promise<Won | Held | 'busy' | undefined> {
    await this.begin(on, request.leaseMs);
    try {
      return await this.claimWithin(on, request);
    } catch (error) {
      await this.giveUp(on);
      throw error;
    }
  }

  /** As `beginWith`, of a claim that is committed with its lease before. */
  async beginKept(on: Connection, request: ClaimRequest): Promise<Won | Held | 'busy' | undefined> {
    const first = await this.beginWith(on, request);
    if (typeof first !== 'object' || first.type === 'held') return first;
    try {
      return await this.keepStart(on, request, first);
    } catch (error) {
      await this.giveUp(on);
      throw error;
    }
  }

  /** Commits the claim of the open transaction with its lease, and takes it into the next one. */
  protected abstract keepStart(
    on: Connection,
    request: ClaimRequest,
    first: Won,
  ): Promise<Won | undefined>;

  /** Gives the claim of the open transaction its lease. Parameters: lease, id, owner. */
  protected leaseSql(): string {
    return (
      `UPDATE ${this.names.table} SET state = ${stateCode('in-progress')}, ` +
      `lease_until = ${this.now} + ? WHERE id = ? AND owner = ?`
    );
  }

  /** Takes a live claim into the open transaction. Parameters: id, owner. */
  protected ownSql(): string {
    return (
      `UPDATE ${this.names.table} SET state = ${stateCode('uncertain')}, lease_until = NULL ` +
      `WHERE ${isOwnedSql(this.now)}`
    );
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
    const sql = `UPDATE ${this.names.table} SET steps = ? WHERE ${isOwnedSql(this.now)}`;
    return (await this.affected(on, sql, [bytes(steps), this.token(id), this.token(owner)])) > 0;
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

  /** Ends a transaction that failed before it was anybody's. */
  protected async giveUp(on: Connection): Promise<void> {
    try {
      await this.rollback(on);
      await this.giveBack(on);
    } catch {
      await this.discard(on);
    }
  }

  /** Ends a connection that cannot be trusted any more. */
  abstract discard(on: Pick<Connection, 'runner'>): Promise<void>;

  async keepAlive({ send }: Connection): Promise<void> {
    await send('SELECT 1');
  }

  protected abstract token(hex: string): unknown;
  protected abstract bindText(text: string | null): unknown;

  /** Compares exactly, and by an index where there is one. */
  protected scopeIs(scope: unknown): [condition: string, ...parameters: unknown[]] {
    return ['scope = ?', scope];
  }

  async complete({ id, owner, result, ttlMs }: CompleteRequest): Promise<SettleResult> {
    const settled = await this.settle(
      { id, owner },
      `state = ?, result = ?, expires_at = ${this.now} + ?, lease_until = NULL, steps = NULL, ` +
        `attempts_finished = attempts_finished + 1`,
      [outcomeState(result), bytes(result), ttlMs],
    );
    const sentAgain = !settled.applied && isOutcomeOf(settled.record, owner, result);
    return sentAgain ? { applied: true } : settled;
  }

  release(claim: Claim, counted: boolean): Promise<SettleResult> {
    const count = counted
      ? 'attempts_finished = attempts_finished + 1'
      : 'attempts_started = attempts_started - 1';
    return this.settle(claim, `state = 0, lease_until = ${RELEASED}, ${count}`);
  }

  park(claim: Claim, result: Uint8Array | null): Promise<SettleResult> {
    return this.settle(
      claim,
      `state = ?, result = ?, lease_until = NULL, attempts_finished = attempts_finished + 1`,
      [stateCode('parked'), bytes(result)],
    );
  }

  markUncertain(claim: Claim): Promise<SettleResult> {
    return this.settle(claim, `state = 2, lease_until = NULL`);
  }

  startEffect(claim: Claim): Promise<SettleResult> {
    return this.note(claim, 'state = 2', []);
  }

  keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult> {
    return this.note(claim, 'steps = ?', [bytes(steps)]);
  }

  async resolve(
    id: string,
    verdict: 'absent' | { readonly result: Uint8Array | null; readonly ttlMs: number },
    owner?: string,
  ): Promise<boolean> {
    const update = `UPDATE ${this.names.table} SET`;
    const isWaiting = `id = ? AND ${owner === undefined ? '' : 'owner = ? AND '}${isWaitingSql(this.now)}`;
    const named = (owner === undefined ? [id] : [id, owner]).map((hex) => this.token(hex));
    if (verdict === 'absent') {
      const sql = `${update} ${ABSENT_SQL} WHERE ${isWaiting}`;
      return (await this.execute(sql, named)) > 0;
    }
    const sql =
      `${update} state = ?, result = ?, expires_at = ${this.now} + ?, lease_until = NULL, ` +
      `steps = NULL WHERE ${isWaiting}`;
    const { result, ttlMs } = verdict;
    return (await this.execute(sql, [outcomeState(result), bytes(result), ttlMs, ...named])) > 0;
  }

  async find(id: string): Promise<StoredRecord | null> {
    const sql =
      `SELECT ${selectList(this.readers, this.now)} FROM ${this.names.table} ` +
      `WHERE id = ? AND ${isLiveSql(this.now)}`;
    const [row] = await this.select(sql, [this.token(id)]);
    return row ? toRecord(row) : null;
  }

  async findSteps(id: string): Promise<Uint8Array | null> {
    const sql = `SELECT steps FROM ${this.names.table} WHERE id = ? AND ${isLiveSql(this.now)}`;
    const [row] = await this.select(sql, [this.token(id)]);
    return row ? toBytes(row.steps) : null;
  }

  /** The live records, by their ids. */
  async findAll(ids: readonly string[]): Promise<ReadonlyMap<string, StoredRecord>> {
    const { condition, parameters } = this.oneOf(ids);
    const sql =
      `SELECT ${selectList(this.readers, this.now)} FROM ${this.names.table} ` +
      `WHERE ${condition} AND ${isLiveSql(this.now)}`;
    const rows = await this.select(sql, parameters);
    return new Map(rows.map((row) => [row.id as string, toRecord(row)]));
  }

  protected oneOf(ids: readonly string[]): { condition: string; parameters: unknown[] } {
    return {
      condition: `id IN (${ids.map(() => '?').join(', ')})`,
      parameters: ids.map((id) => this.token(id)),
    };
  }

  async list({ limit, ...filter }: ListFilter): Promise<StoredRecord[]> {
    const { table } = this.names;
    const { conditions, parameters } = this.conditions(filter);
    const sql =
      `SELECT ${selectList(this.readers, this.now, { withResult: false })} FROM ${table} ` +
      `WHERE ${conditions} ORDER BY ${table}.id LIMIT ?`;
    return (await this.select(sql, [...parameters, limit])).map(toRecord);
  }

  async countRecords(filter: CountFilter, upTo: number): Promise<number> {
    const { conditions, parameters } = this.conditions(filter);
    const some = `SELECT 1 FROM ${this.names.table} WHERE ${conditions} LIMIT ?`;
    const sql = `SELECT count(*) AS count FROM (${some}) counted`;
    const [row] = await this.select(sql, [...parameters, upTo]);
    return Number(row?.count);
  }

  private conditions({ state, scope, after }: CountFilter & Pick<ListFilter, 'after'>) {
    const [condition, ...parameters] = state === 'expired' ? this.due() : [isLiveSql(this.now)];
    const conditions = [condition];
    const where = (condition: string, parameter: unknown): void => {
      conditions.push(condition);
      parameters.push(parameter);
    };
    if (state !== undefined && state !== 'expired') {
      where(`${stateSql(this.now)} = ?`, stateCode(state));
    }
    if (scope !== undefined) {
      const [condition, ...values] = this.scopeIs(this.bindText(scope));
      conditions.push(condition);
      parameters.push(...values);
    }
    if (after !== undefined) where('id > ?', this.token(after));
    return { conditions: conditions.join(' AND '), parameters };
  }

  /** What `deleteExpired` deletes. */
  protected due(): [condition: string, ...parameters: unknown[]] {
    return [isDueSql(this.now)];
  }

  async forget(id: string): Promise<boolean> {
    const { table } = this.names;
    const live =
      `DELETE FROM ${table} WHERE id = ? AND ((state IN (1, 3) AND expires_at > ${this.now}) ` +
      `OR ${isWaitingSql(this.now)})`;
    if ((await this.execute(live, [this.token(id)])) > 0) return true;
    // A dead row holds a person's data as well, even though it counts as no record.
    const dead = `DELETE FROM ${table} WHERE id = ? AND ${isDeadSql(this.now)}`;
    await this.execute(dead, [this.token(id)]);
    return false;
  }

  async ping(): Promise<number> {
    const [row] = await this.select(`SELECT ${this.now} AS now`);
    return Number(row?.now);
  }

  /** Fails when the table, the fence or a column is missing; reads nothing. */
  async checkTable(columns: readonly string[], table = this.names.table): Promise<void> {
    const { fence } = this.names;
    const list = columns.map((column) => `r.${column}`).join(', ');
    await this.select(`SELECT ${list} FROM ${table} r LEFT JOIN ${fence} f ON 1 = 0 WHERE 1 = 0`);
  }

  /**
   * One compare-and-set; only one that failed costs a second statement, to see who owns the record.
   * Every settling changes its row, so the count is the same whether matched or changed rows count.
   */
  private async settle(
    { id, owner }: Claim,
    changes: string,
    parameters: readonly unknown[] = [],
  ): Promise<SettleResult> {
    const sql = `UPDATE ${this.names.table} SET ${changes} WHERE id = ? AND owner = ? AND ${isToSettleSql(this.now)}`;
    const count = await this.execute(sql, [...parameters, this.token(id), this.token(owner)]);
    return count > 0 ? { applied: true } : { applied: false, record: await this.find(id) };
  }

  /** A note on a running attempt. Made again, it may change nothing, and counts as made. */
  private async note(
    { id, owner }: Claim,
    change: string,
    parameters: readonly unknown[],
  ): Promise<SettleResult> {
    const sql = `UPDATE ${this.names.table} SET ${change} WHERE ${isOwnedSql(this.now)}`;
    const count = await this.execute(sql, [...parameters, this.token(id), this.token(owner)]);
    if (count > 0) return { applied: true };
    const record = await this.find(id);
    const isOurs = record?.owner === owner && record.state === 'in-progress';
    return isOurs ? { applied: true } : { applied: false, record };
  }

  /** What a claim means to its sender, given the row as it is after the claim. */
  protected answer(
    row: Row | undefined,
    { owner }: ClaimRequest,
    takenOver?: boolean,
  ): ClaimResult | undefined {
    if (!row) return undefined;
    const record = toRecord(row);
    const now = Number(row.now);
    if (!isLive(record, now)) return undefined;
    if (record.state !== 'in-progress' || record.owner !== owner) {
      return { type: 'held', record, now };
    }
    return won(row, takenOver);
  }

  /** What the rows say to those who asked, after a claim that took nothing over. */
  protected answers(
    rows: readonly Row[],
    requests: readonly ClaimRequest[],
    isFresh: (row: Row) => boolean,
  ): ReadonlyMap<string, ClaimResult> {
    const byId = new Map(rows.map((row) => [row.id as string, row]));
    const answers = new Map<string, ClaimResult>();
    for (const request of requests) {
      const row = byId.get(request.id);
      const answer = row && this.answer(row, request, isFresh(row) ? false : undefined);
      if (answer) answers.set(request.id, answer);
    }
    return answers;
  }

  protected completion({ id, owner, result, ttlMs }: CompleteRequest, condition: string) {
    const sql =
      `UPDATE ${this.names.table} SET state = ?, result = ?, expires_at = ${this.now} + ?, ` +
      `lease_until = NULL, steps = NULL, attempts_finished = attempts_finished + 1 ` +
      `WHERE id = ? AND owner = ? AND ${condition}`;
    const named = [this.token(id), this.token(owner)];
    return { sql, parameters: [outcomeState(result), bytes(result), ttlMs, ...named] };
  }
}

/** A connection with a transaction on it. */
export interface Connection {
  readonly runner: QueryRunner;
  /** Sends a statement on it at once. */
  readonly send: QueryRunner['query'];
}

type Claimed = Extract<ClaimResult, { type: 'claimed' }>;
export type Held = Extract<ClaimResult, { type: 'held' }>;

export interface Won {
  readonly type: 'won';
  readonly claimed: Claimed;
  /** By which the transaction is recognised at its end. */
  readonly mark: string;
}

/** What a transaction's row is written with: uncertain, and no lease that could run out. */
export function withoutLease(request: ClaimRequest): ClaimRequest {
  return { ...request, effectStarted: true, leaseMs: null as unknown as number };
}

let marks = 0;

/** The name of a savepoint that is there as long as its transaction is. */
export function newMark(): string {
  return `nestjs_idempotency_mark_${(marks += 1)}`;
}

export function won(row: Row, takenOver?: boolean): Claimed {
  const { fence, attemptsStarted, attemptsFinished } = toRecord(row);
  return {
    type: 'claimed',
    fence,
    attempt: attemptsStarted,
    // Of a claim sent again only the counts are known, and a doubt must not be hidden.
    takenOver: takenOver ?? attemptsStarted - attemptsFinished > 1,
    steps: toBytes(row.steps),
    now: Number(row.now),
  };
}

/** The live record of the row, as a claimer is told of it. */
export function heldBy(row: Row | undefined): Held | undefined {
  if (row === undefined) return undefined;
  const record = toRecord(row);
  const now = Number(row.now);
  return isLive(record, now) ? { type: 'held', record, now } : undefined;
}

export function isOwn(
  held: Held | undefined,
  { owner }: Pick<Claim, 'owner'>,
): held is Held & { readonly record: { readonly state: 'in-progress' } } {
  return held?.record.owner === owner && held.record.state === 'in-progress';
}

/** What drivers say about an error: a SQLSTATE or name, and a number on MySQL and MariaDB. */
export interface DriverError {
  readonly code?: string;
  readonly errno?: number;
  readonly message: string;
}

/** NUL and lone surrogates are no text to a database; such text is for people to read, so replace them. */
export function printable(text: string | null): string | null {
  return text === null ? null : Buffer.from(text).toString().replaceAll('\0', '\uFFFD');
}

export function bytes(value: Uint8Array | null): Buffer | null {
  return value && Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function outcomeState(result: Uint8Array | null): number {
  return stateCode(result ? 'completed' : 'tombstone');
}

/** Another outcome under the same owner was given by `resolve`, and that one stands. */
function isOutcomeOf(
  record: StoredRecord | null,
  owner: string,
  result: Uint8Array | null,
): boolean {
  if (record?.owner !== owner || record.expiresAt === null) return false;
  if (result === null || record.result === null) return result === record.result;
  return Buffer.compare(record.result, result) === 0;
}
