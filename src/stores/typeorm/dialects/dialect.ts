import type { DataSource } from 'typeorm';
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
import type { Row } from '../rows.js';
import type { DialectName } from '../schema.js';
import type { DatabaseErrors } from './database-errors.js';
import type { DialectTransactions } from './dialect-transactions.js';
import { bytes, outcomeState } from './record-sql.js';
import type { RecordSql } from './record-sql.js';

/**
 * The store contract for one database. What can be said in the same words everywhere is here;
 * claiming, renewing and cleanup are where databases differ. Statements are written with `?`.
 */
export abstract class Dialect<Sql extends RecordSql = RecordSql> {
  abstract readonly name: DialectName;
  abstract readonly errors: DatabaseErrors;
  abstract readonly transactions: DialectTransactions;
  /** Is it faster to send in one statement what comes at the same time? */
  readonly prefersBatches: boolean = false;

  constructor(
    protected readonly dataSource: DataSource,
    readonly sql: Sql,
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

  /** Compares exactly, and by an index where there is one. */
  protected scopeIs(scope: unknown): [condition: string, ...parameters: unknown[]] {
    return ['scope = ?', scope];
  }

  async complete({ id, owner, result, ttlMs }: CompleteRequest): Promise<SettleResult> {
    const settled = await this.settle(
      { id, owner },
      `state = ?, result = ?, expires_at = ${this.sql.now} + ?, lease_until = NULL, steps = NULL, ` +
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
    const update = `UPDATE ${this.sql.names.table} SET`;
    const isWaiting = `id = ? AND ${owner === undefined ? '' : 'owner = ? AND '}${isWaitingSql(this.sql.now)}`;
    const named = (owner === undefined ? [id] : [id, owner]).map((hex) => this.sql.token(hex));
    if (verdict === 'absent') {
      const sql = `${update} ${ABSENT_SQL} WHERE ${isWaiting}`;
      return (await this.execute(sql, named)) > 0;
    }
    const sql =
      `${update} state = ?, result = ?, expires_at = ${this.sql.now} + ?, lease_until = NULL, ` +
      `steps = NULL WHERE ${isWaiting}`;
    const { result, ttlMs } = verdict;
    return (await this.execute(sql, [outcomeState(result), bytes(result), ttlMs, ...named])) > 0;
  }

  async find(id: string): Promise<StoredRecord | null> {
    const sql =
      `SELECT ${this.sql.columns} FROM ${this.sql.names.table} ` +
      `WHERE id = ? AND ${isLiveSql(this.sql.now)}`;
    const [row] = await this.select(sql, [this.sql.token(id)]);
    return row ? toRecord(row) : null;
  }

  async findSteps(id: string): Promise<Uint8Array | null> {
    const sql = `SELECT steps FROM ${this.sql.names.table} WHERE id = ? AND ${isLiveSql(this.sql.now)}`;
    const [row] = await this.select(sql, [this.sql.token(id)]);
    return row ? toBytes(row.steps) : null;
  }

  /** The live records, by their ids. */
  async findAll(ids: readonly string[]): Promise<ReadonlyMap<string, StoredRecord>> {
    const { condition, parameters } = this.oneOf(ids);
    const sql =
      `SELECT ${this.sql.columns} FROM ${this.sql.names.table} ` +
      `WHERE ${condition} AND ${isLiveSql(this.sql.now)}`;
    const rows = await this.select(sql, parameters);
    return new Map(rows.map((row) => [row.id as string, toRecord(row)]));
  }

  protected oneOf(ids: readonly string[]): { condition: string; parameters: unknown[] } {
    return {
      condition: `id IN (${ids.map(() => '?').join(', ')})`,
      parameters: ids.map((id) => this.sql.token(id)),
    };
  }

  async list({ limit, ...filter }: ListFilter): Promise<StoredRecord[]> {
    const { table } = this.sql.names;
    const { conditions, parameters } = this.conditions(filter);
    const sql =
      `SELECT ${selectList(this.sql.readers, this.sql.now, { withResult: false })} FROM ${table} ` +
      `WHERE ${conditions} ORDER BY ${table}.id LIMIT ?`;
    return (await this.select(sql, [...parameters, limit])).map(toRecord);
  }

  async countRecords(filter: CountFilter, upTo: number): Promise<number> {
    const { conditions, parameters } = this.conditions(filter);
    const some = `SELECT 1 FROM ${this.sql.names.table} WHERE ${conditions} LIMIT ?`;
    const sql = `SELECT count(*) AS count FROM (${some}) counted`;
    const [row] = await this.select(sql, [...parameters, upTo]);
    return Number(row?.count);
  }

  private conditions({ state, scope, after }: CountFilter & Pick<ListFilter, 'after'>) {
    const [condition, ...parameters] = state === 'expired' ? this.due() : [isLiveSql(this.sql.now)];
    const conditions = [condition];
    const where = (condition: string, parameter: unknown): void => {
      conditions.push(condition);
      parameters.push(parameter);
    };
    if (state !== undefined && state !== 'expired') {
      where(`${stateSql(this.sql.now)} = ?`, stateCode(state));
    }
    if (scope !== undefined) {
      const [condition, ...values] = this.scopeIs(this.sql.text(scope));
      conditions.push(condition);
      parameters.push(...values);
    }
    if (after !== undefined) where('id > ?', this.sql.token(after));
    return { conditions: conditions.join(' AND '), parameters };
  }

  /** What `deleteExpired` deletes. */
  protected due(): [condition: string, ...parameters: unknown[]] {
    return [isDueSql(this.sql.now)];
  }

  async forget(id: string): Promise<boolean> {
    const { table } = this.sql.names;
    const live =
      `DELETE FROM ${table} WHERE id = ? AND ((state IN (1, 3) AND expires_at > ${this.sql.now}) ` +
      `OR ${isWaitingSql(this.sql.now)})`;
    if ((await this.execute(live, [this.sql.token(id)])) > 0) return true;
    // A dead row holds a person's data as well, even though it counts as no record.
    const dead = `DELETE FROM ${table} WHERE id = ? AND ${isDeadSql(this.sql.now)}`;
    await this.execute(dead, [this.sql.token(id)]);
    return false;
  }

  async ping(): Promise<number> {
    const [row] = await this.select(`SELECT ${this.sql.now} AS now`);
    return Number(row?.now);
  }

  /** Fails when the table, the fence or a column is missing; reads nothing. */
  async checkTable(columns: readonly string[], table = this.sql.names.table): Promise<void> {
    const { fence } = this.sql.names;
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
    const sql = `UPDATE ${this.sql.names.table} SET ${changes} WHERE id = ? AND owner = ? AND ${isToSettleSql(this.sql.now)}`;
    const count = await this.execute(sql, [
      ...parameters,
      this.sql.token(id),
      this.sql.token(owner),
    ]);
    return count > 0 ? { applied: true } : { applied: false, record: await this.find(id) };
  }

  /** A note on a running attempt. Made again, it may change nothing, and counts as made. */
  private async note(
    { id, owner }: Claim,
    change: string,
    parameters: readonly unknown[],
  ): Promise<SettleResult> {
    const sql = `UPDATE ${this.sql.names.table} SET ${change} WHERE ${isOwnedSql(this.sql.now)}`;
    const count = await this.execute(sql, [
      ...parameters,
      this.sql.token(id),
      this.sql.token(owner),
    ]);
    if (count > 0) return { applied: true };
    const record = await this.find(id);
    const isOurs = record?.owner === owner && record.state === 'in-progress';
    return isOurs ? { applied: true } : { applied: false, record };
  }
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
