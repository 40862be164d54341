import type { DataSource, QueryRunner } from 'typeorm';
import type { Claim, ClaimRequest, CompleteRequest } from '../../../engine/store.js';
import { driverError } from '../errors.js';
import { isUnsettled, toRecord } from '../rows.js';
import type { Row } from '../rows.js';
import { claimedBy, heldBy, isOwn } from './claim-answers.js';
import type { ClaimWithin, Won } from './claim-answers.js';
import type { DriverError } from './database-errors.js';
import { DialectTransactions, newMark } from './dialect-transactions.js';
import type { Connection } from './dialect-transactions.js';
import { isDuplicate, isLockTimeout, mysqlErrors } from './mysql-errors.js';
import { lockName } from './mysql-sql.js';
import type { Affected, MySqlSql } from './mysql-sql.js';
import { withoutLease } from './record-sql.js';

const LOCK_NAME = lockName('?');
/** What the server says of every answer, as a bit of its status. */
const IN_TRANSACTION = 1;
/** The server takes no more (a year). */
const LONGEST_WAIT_SECONDS = 31_536_000;

/** MySQL: a transaction is known by its savepoint, and a key that somebody is at by a lock of the session. */
export class MySqlTransactions extends DialectTransactions<MySqlSql> {
  /** In a transaction at that level every read locks, and of what is not there a whole gap. */
  readsLock: boolean;
  private readonly locks = new WeakMap<QueryRunner, string[]>();

  constructor(
    private readonly dataSource: DataSource,
    sql: MySqlSql,
  ) {
    super(sql);
    this.readsLock = dataSource.options.isolationLevel === 'SERIALIZABLE';
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

  async claimWithin(on: Connection, request: ClaimRequest): Promise<ClaimWithin> {
    const isOurs = await this.lock(on, request.id);
    if (this.readsLock && !isOurs) return 'busy';
    const unleased = withoutLease(request);
    let seen = this.readsLock ? undefined : await this.look(on, request);
    try {
      if (this.readsLock && !(await this.write(on, unleased, undefined))) {
        seen = await this.look(on, request);
        if (seen === undefined) return undefined;
      }
      const held = heldBy(seen);
      if (isOwn(held, request)) {
        return isOurs ? await this.takeOwn(on, request, claimedBy(seen as Row, false)) : 'busy';
      }
      if (held !== undefined || !isOurs) return held ?? 'busy';
      const isWritten = this.readsLock && seen === undefined;
      if (!isWritten && !(await this.write(on, unleased, seen))) return undefined;
    } catch (error) {
      if (isLockTimeout(driverError(error))) return 'busy';
      throw error;
    }
    const row = await this.look(on, request);
    if (row?.owner !== request.owner) return undefined;
    const takenOver = seen !== undefined && isUnsettled(toRecord(seen));
    return this.marked(on, claimedBy(row, takenOver));
  }

  /** The session keeps its time-out. */
  protected async keepStart(
    on: Connection,
    request: ClaimRequest,
    { claimed }: Won,
  ): Promise<Won | undefined> {
    const { isolationLevel } = this.dataSource.options;
    const { id, owner, leaseMs } = request;
    const own = [id, owner].map((hex) => this.sql.token(hex));
    await this.affected(on, this.sql.leaseSql, [leaseMs, ...own]);
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
    const own = [id, owner].map((hex) => this.sql.token(hex));
    const sql = `${this.sql.withoutWaiting}${this.sql.ownSql}`;
    const isOurs = (await this.affected(on, sql, own)) > 0;
    return isOurs ? this.marked(on, claimed) : undefined;
  }

  private async marked(on: Connection, claimed: Won['claimed']): Promise<Won> {
    const mark = newMark();
    await on.send(`SAVEPOINT ${mark}`);
    return { type: 'won', claimed, mark };
  }

  /** An insert that must wait for another transaction with the same key would; a lock of its own says so at once. */
  private async lock({ runner, send }: Connection, id: string): Promise<boolean> {
    if (this.sql.withoutWaiting !== '') return true;
    const name = `${this.sql.names.table} ${id}`;
    const [turn] = (await send(`SELECT GET_LOCK(${LOCK_NAME}, 0) AS ours`, [name])) as Row[];
    if (Number(turn?.ours) !== 1) return false;
    this.locks.set(runner, [...(this.locks.get(runner) ?? []), name]);
    return true;
  }

  private async look({ send }: Connection, { id }: ClaimRequest): Promise<Row | undefined> {
    const [row] = (await send(this.sql.lookSql, [this.sql.token(id)])) as Row[];
    return row;
  }

  /** False when there is a row where none was seen. */
  private async write(
    on: Connection,
    request: ClaimRequest,
    seen: Row | undefined,
  ): Promise<boolean> {
    try {
      if (!this.sql.hasSequence) await on.send(`INSERT INTO ${this.sql.names.fence} () VALUES ()`);
      await this.writeRow(on, request, seen);
      return true;
    } catch (error) {
      if (isDuplicate(driverError(error))) return false;
      throw error;
    }
  }

  private async writeRow(
    { send }: Connection,
    request: ClaimRequest,
    seen: Row | undefined,
  ): Promise<void> {
    const atOnce = this.sql.withoutWaiting;
    if (seen === undefined) {
      await send(`${atOnce}${this.sql.insertSql}`, this.sql.insertParameters(request));
    } else {
      const owner = this.sql.token(seen.owner as string);
      const parameters = [...this.sql.takeOverParameters(request), owner];
      await send(`${atOnce}${this.sql.takeOverSql('?')}`, parameters);
    }
  }

  async completeWithin(on: Connection, request: CompleteRequest, mark: string): Promise<boolean> {
    try {
      await on.send(`RELEASE SAVEPOINT ${mark}`);
    } catch (error) {
      if (mysqlErrors.isSavepointMissing(driverError(error))) return false;
      throw error;
    }
    const { sql, parameters } = this.sql.completion(request, 'state = 2 AND lease_until IS NULL');
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

  /** Everything but rows is answered with the state of the session. */
  isOver(_: QueryRunner, answer: unknown): boolean {
    const { serverStatus } = Object(answer) as { serverStatus?: number };
    return serverStatus !== undefined && (serverStatus & IN_TRANSACTION) === 0;
  }

  override hasEnded(error: DriverError): boolean {
    return mysqlErrors.isConflict(error);
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
}

interface Destroyable {
  destroy(): void;
}
