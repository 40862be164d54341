import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { SqliteGate } from '../../../transactions/sqlite-gate.js';
import { scopeOf } from '../../../transactions/transaction-scope.js';
import type { Claim, ClaimRequest, ClaimResult, CompleteRequest } from '../../../engine/store.js';
import { createStatements } from '../ddl.js';
import {
  NEXT_ATTEMPT_SQL,
  claimState,
  isDueSql,
  isOwnedSql,
  isToSettleSql,
  isUnsettled,
  selectList,
  toRecord,
} from '../rows.js';
import type { Readers, Row } from '../rows.js';
import type { TableNames } from '../schema.js';
import { driverError } from '../errors.js';
import { Dialect, bytes, heldBy, isOwn, newMark, printable, withoutLease, won } from './dialect.js';
import type { Connection, DriverError, Held, Won } from './dialect.js';

/** What is used of a better-sqlite3 database. */
interface Handle {
  readonly inTransaction: boolean;
  prepare(sql: string): Statement;
  pragma(sql: string, options?: { simple: true }): unknown;
  transaction<T>(body: () => T): { immediate(): T };
}

interface Statement {
  all(...parameters: unknown[]): Row[];
  run(...parameters: unknown[]): { readonly changes: number };
}

/** An application transaction that stays open longer than this fails the statement behind it. */
const LONGEST_WAIT_MS = 30_000;

/**
 * SQLite: a DataSource has one connection for everybody. Statements that went through it while the
 * application has a transaction open would be part of that transaction, and its rollback would take
 * an acknowledged claim away. So they wait until it is closed, and then run to their end within one
 * turn of the event loop, in which nobody can open another.
 */
export class SqliteDialect extends Dialect {
  readonly name = 'sqlite';
  override readonly prefersBatches = true;
  protected readonly readers: Readers = {
    hex: (column) => `lower(hex(${column}))`,
    text: (column) => `CAST(${column} AS TEXT)`,
  };
  readonly gate = SqliteGate.of(this.dataSource, () => this.handle().inTransaction);
  private readonly statements = new WeakMap<Handle, Map<string, Statement>>();

  constructor(dataSource: DataSource, names: TableNames, clock?: string) {
    super(dataSource, names, clock ?? `CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)`);
  }

  select(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return this.alone((db) => this.prepare(db, sql).all(...parameters));
  }

  execute(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    return this.alone((db) => this.prepare(db, sql).run(...parameters).changes);
  }

  createTable(): Promise<void> {
    return this.alone((db) => {
      const create = (): void => {
        for (const sql of createStatements('sqlite', this.names)) db.prepare(sql).run();
      };
      db.transaction(create).immediate();
    });
  }

  async hasScopeIndex(): Promise<boolean> {
    const rows = await this.select(
      'SELECT 1 FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) i ' +
        "WHERE i.seqno = 0 AND i.name = 'scope' AND l.partial = 0",
      [this.names.plain.table],
    );
    return rows.length > 0;
  }

  claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    return this.alone((db) => {
      // A look first: a replay then never waits for the one writer that SQLite allows.
      const held = this.answer(this.read(db, request.id), request);
      return held ?? db.transaction(() => this.write(db, request)).immediate();
    });
  }

  claimFree(requests: readonly ClaimRequest[]): Promise<ReadonlyMap<string, ClaimResult>> {
    return this.alone((db) => {
      const answers = new Map<string, ClaimResult>();
      const keep = (request: ClaimRequest, answer: ClaimResult | undefined): void => {
        if (answer !== undefined) answers.set(request.id, answer);
      };
      for (const request of requests) {
        keep(request, this.answer(this.read(db, request.id), request));
      }
      const free = requests.filter(({ id }) => !answers.has(id));
      const claimFree = (): void => free.forEach((each) => keep(each, this.write(db, each)));
      if (free.length > 0) db.transaction(claimFree).immediate();
      return answers;
    });
  }

  completeAll(requests: readonly CompleteRequest[]): Promise<ReadonlySet<string>> {
    const isCompleted = (db: Handle, request: CompleteRequest): boolean => {
      const { sql, parameters } = this.completion(request, isToSettleSql(this.now));
      return this.prepare(db, sql).run(...parameters).changes > 0;
    };
    return this.alone((db) => {
      const completeEach = (): string[] =>
        requests.filter((request) => isCompleted(db, request)).map(({ owner }) => owner);
      return new Set(db.transaction(completeEach).immediate());
    });
  }

  private write(db: Handle, request: ClaimRequest): ClaimResult | undefined {
    const seen = this.read(db, request.id);
    const held = this.answer(seen, request);
    if (held) return held;
    this.writeRow(db, request);
    const takenOver = seen !== undefined && isUnsettled(toRecord(seen));
    return this.answer(this.read(db, request.id), request, takenOver);
  }

  private writeRow(db: Handle, request: ClaimRequest): void {
    const { table, fence } = this.names;
    this.prepare(db, `UPDATE ${fence} SET value = value + 1`).run();
    const sql = `
      INSERT INTO ${table} (id, owner, fingerprint, scope, operation, idempotency_key, fence,
        state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
      SELECT ?, ?, ?, ?, ?, ?, value, ?, 1, 0, ${this.now}, ${this.now} + ?, ${this.now} + ?,
        ${this.now} + ?
      FROM ${fence} WHERE true
      ON CONFLICT (id) DO UPDATE SET ${NEXT_ATTEMPT_SQL}, owner = excluded.owner,
        fingerprint = excluded.fingerprint, scope = excluded.scope,
        operation = excluded.operation, idempotency_key = excluded.idempotency_key,
        fence = excluded.fence, state = excluded.state, claimed_at = excluded.claimed_at,
        lease_until = excluded.lease_until, expires_at = excluded.expires_at, result = NULL`;
    const { id, owner, fingerprint, scope, operation, key, leaseMs, ttlMs } = request;
    const texts = [scope, operation, key].map(printable);
    const values = [this.token(id), this.token(owner), bytes(fingerprint), ...texts];
    this.prepare(db, sql).run(...values, claimState(request), leaseMs, ttlMs, ttlMs);
  }

  /** `IMMEDIATE`: a transaction that read first could not be made one that writes while another process does. */
  async begin(on: Connection): Promise<void> {
    const { broadcaster } = on.runner;
    const begin = (): void => {
      withoutBlocking(this.handle(), (db) => this.prepare(db, 'BEGIN IMMEDIATE').run());
    };
    await broadcaster.broadcast('BeforeTransactionStart');
    await this.gate.close(begin, LONGEST_WAIT_MS);
    try {
      await broadcaster.broadcast('AfterTransactionStart');
    } catch (error) {
      await this.giveUp(on);
      throw error;
    }
  }

  async claimWithin(_: Connection, request: ClaimRequest): Promise<Won | Held> {
    const db = this.handle();
    const seen = this.read(db, request.id);
    const held = heldBy(seen);
    const isOurs = isOwn(held, request);
    if (held && !isOurs) return held;
    if (isOurs) {
      this.takeOwn(db, request);
    } else {
      this.writeRow(db, withoutLease(request));
    }
    const takenOver = !isOurs && seen !== undefined && isUnsettled(toRecord(seen));
    return this.marked(db, won(this.read(db, request.id) as Row, takenOver));
  }

  /** In one turn of the event loop, in which nobody else can open a transaction. */
  protected async keepStart(
    _: Connection,
    { id, owner, leaseMs }: ClaimRequest,
    { claimed }: Won,
  ): Promise<Won> {
    return withoutBlocking(this.handle(), (db) => {
      this.prepare(db, this.leaseSql()).run(leaseMs, this.token(id), this.token(owner));
      this.prepare(db, 'COMMIT').run();
      this.prepare(db, 'BEGIN IMMEDIATE').run();
      this.takeOwn(db, { id, owner });
      return this.marked(db, claimed);
    });
  }

  private takeOwn(db: Handle, { id, owner }: Claim): void {
    this.prepare(db, this.ownSql()).run(this.token(id), this.token(owner));
  }

  private marked(db: Handle, claimed: Won['claimed']): Won {
    const mark = newMark();
    db.prepare(`SAVEPOINT ${mark}`).run();
    return { type: 'won', claimed, mark };
  }

  async completeWithin(_: Connection, request: CompleteRequest, mark: string): Promise<boolean> {
    const db = this.handle();
    try {
      db.prepare(`RELEASE SAVEPOINT ${mark}`).run();
    } catch (error) {
      if (this.isSavepointMissing(driverError(error))) return false;
      throw error;
    }
    const { sql, parameters } = this.completion(request, 'state = 2 AND lease_until IS NULL');
    return this.prepare(db, sql).run(...parameters).changes > 0;
  }

  protected async affected(
    _: Connection,
    sql: string,
    parameters: readonly unknown[],
  ): Promise<number> {
    return this.prepare(this.handle(), sql).run(...parameters).changes;
  }

  override async commit({ runner }: Connection): Promise<void> {
    await runner.broadcaster.broadcast('BeforeTransactionCommit');
    if (this.handle().inTransaction) this.prepare(this.handle(), 'COMMIT').run();
    await runner.broadcaster.broadcast('AfterTransactionCommit');
  }

  override async rollback({ runner }: Connection): Promise<void> {
    await runner.broadcaster.broadcast('BeforeTransactionRollback');
    if (this.handle().inTransaction) this.prepare(this.handle(), 'ROLLBACK').run();
    await runner.broadcaster.broadcast('AfterTransactionRollback');
  }

  override async giveBack(): Promise<void> {
    this.gate.open();
  }

  async discard(): Promise<void> {
    try {
      if (this.handle().inTransaction) this.prepare(this.handle(), 'ROLLBACK').run();
    } finally {
      this.gate.open();
    }
  }

  isOver(): boolean {
    return !this.handle().inTransaction;
  }

  override async keepAlive(): Promise<void> {}

  private read(db: Handle, id: string): Row | undefined {
    const sql = `SELECT ${this.now} AS now, ${selectList(this.readers, this.now)} FROM ${this.names.table} WHERE id = ?`;
    return this.prepare(db, sql).all(this.token(id))[0];
  }

  renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const sql =
      `UPDATE ${this.names.table} SET lease_until = ${this.now} + ? ` +
      `WHERE ${isOwnedSql(this.now)}`;
    return this.alone((db) => {
      const update = this.prepare(db, sql);
      const isRenewed = ({ id, owner }: Claim): boolean =>
        update.run(leaseMs, this.token(id), this.token(owner)).changes > 0;
      const renewed = db.transaction(() => claims.filter(isRenewed)).immediate();
      return new Set(renewed.map(({ owner }) => owner));
    });
  }

  deleteExpired(limit: number): Promise<number> {
    const { table } = this.names;
    return this.execute(
      `DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} ` +
        `WHERE ${isDueSql(this.now)} ORDER BY sweep_at LIMIT ?)`,
      [limit],
    );
  }

  isTransient({ code }: DriverError): boolean {
    return code !== undefined && /^SQLITE_(BUSY|LOCKED)/.test(code);
  }

  isSavepointMissing({ message }: DriverError): boolean {
    return message.includes('no such savepoint');
  }

  isRefusal({ code }: DriverError): boolean {
    return code?.startsWith('SQLITE_') === true;
  }

  override hasEndedTransaction(): boolean {
    return !this.handle().inTransaction;
  }

  isSchemaMissing({ message }: DriverError): boolean {
    return /no such (table|column)/.test(message);
  }

  protected token(hex: string): Buffer {
    return Buffer.from(hex, 'hex');
  }

  protected bindText(text: string | null): string | null {
    return printable(text);
  }

  private async alone<T>(work: (db: Handle) => T): Promise<T> {
    if (scopeOf(this.dataSource)?.isOpen === true) return work(this.handle());
    const started = performance.now();
    for (let pause = 0; this.handle().inTransaction; pause = Math.min(pause + 1, 25)) {
      if (performance.now() - started > LONGEST_WAIT_MS) {
        throw new Error(`a transaction of the application has been open for ${LONGEST_WAIT_MS} ms`);
      }
      await sleep(pause);
    }
    return withoutBlocking(this.handle(), work);
  }

  private handle(): Handle {
    const { databaseConnection } = this.dataSource.driver as unknown as {
      readonly databaseConnection?: Handle;
    };
    if (!databaseConnection) throw new Error('the DataSource is not initialized');
    return databaseConnection;
  }

  private prepare(db: Handle, sql: string): Statement {
    let cache = this.statements.get(db);
    if (!cache) this.statements.set(db, (cache = new Map<string, Statement>()));
    let statement = cache.get(sql);
    if (!statement) cache.set(sql, (statement = db.prepare(sql)));
    return statement;
  }
}

/**
 * While another process writes, better-sqlite3 would sleep for up to 5 seconds with the whole event
 * loop. Here it fails at once instead, and the caller tries again. The setting is the application's:
 * it is put back before anybody else can see it.
 */
function withoutBlocking<T>(db: Handle, work: (db: Handle) => T): T {
  const timeout = Number(db.pragma('busy_timeout', { simple: true }));
  db.pragma('busy_timeout = 0');
  try {
    return work(db);
  } finally {
    db.pragma(`busy_timeout = ${timeout}`);
  }
}
