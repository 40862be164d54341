import type { DataSource } from 'typeorm';
import type { Claim, ClaimRequest, ClaimResult, CompleteRequest } from '../../../engine/store.js';
import { createStatements } from '../ddl.js';
import { isDueSql, isOwnedSql, isToSettleSql, isUnsettled, toRecord } from '../rows.js';
import type { Row } from '../rows.js';
import type { TableNames } from '../schema.js';
import { answer } from './claim-answers.js';
import { Dialect } from './dialect.js';
import { SqliteConnection } from './sqlite-connection.js';
import type { Handle } from './sqlite-connection.js';
import { sqliteErrors } from './sqlite-errors.js';
import { SqliteRows } from './sqlite-rows.js';
import { SqliteTransactions } from './sqlite-transactions.js';

/** SQLite: every statement runs by itself on the one connection, past the transactions of the application. */
export class SqliteDialect extends Dialect<SqliteRows> {
  readonly name = 'sqlite';
  readonly errors = sqliteErrors;
  override readonly prefersBatches = true;
  readonly transactions: SqliteTransactions;

  constructor(
    dataSource: DataSource,
    names: TableNames,
    clock?: string,
    private readonly connection = new SqliteConnection(dataSource),
  ) {
    super(dataSource, new SqliteRows(connection, names, clock));
    this.transactions = new SqliteTransactions(connection, this.sql);
  }

  select(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return this.connection.alone((db) => this.connection.prepare(db, sql).all(...parameters));
  }

  execute(sql: string, parameters: readonly unknown[] = []): Promise<number> {
    return this.connection.alone(
      (db) => this.connection.prepare(db, sql).run(...parameters).changes,
    );
  }

  createTable(): Promise<void> {
    return this.connection.alone((db) => {
      const create = (): void => {
        for (const sql of createStatements('sqlite', this.sql.names)) db.prepare(sql).run();
      };
      db.transaction(create).immediate();
    });
  }

  async hasScopeIndex(): Promise<boolean> {
    const rows = await this.select(
      'SELECT 1 FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) i ' +
        "WHERE i.seqno = 0 AND i.name = 'scope' AND l.partial = 0",
      [this.sql.names.plain.table],
    );
    return rows.length > 0;
  }

  claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    return this.connection.alone((db) => {
      // A look first: a replay then never waits for the one writer that SQLite allows.
      const held = answer(this.sql.read(db, request.id), request);
      return held ?? db.transaction(() => this.write(db, request)).immediate();
    });
  }

  claimFree(requests: readonly ClaimRequest[]): Promise<ReadonlyMap<string, ClaimResult>> {
    return this.connection.alone((db) => {
      const answers = new Map<string, ClaimResult>();
      const keep = (request: ClaimRequest, answer: ClaimResult | undefined): void => {
        if (answer !== undefined) answers.set(request.id, answer);
      };
      for (const request of requests) {
        keep(request, answer(this.sql.read(db, request.id), request));
      }
      const free = requests.filter(({ id }) => !answers.has(id));
      const claimFree = (): void => free.forEach((each) => keep(each, this.write(db, each)));
      if (free.length > 0) db.transaction(claimFree).immediate();
      return answers;
    });
  }

  completeAll(requests: readonly CompleteRequest[]): Promise<ReadonlySet<string>> {
    const isCompleted = (db: Handle, request: CompleteRequest): boolean => {
      const { sql, parameters } = this.sql.completion(request, isToSettleSql(this.sql.now));
      return this.connection.prepare(db, sql).run(...parameters).changes > 0;
    };
    return this.connection.alone((db) => {
      const completeEach = (): string[] =>
        requests.filter((request) => isCompleted(db, request)).map(({ owner }) => owner);
      return new Set(db.transaction(completeEach).immediate());
    });
  }

  private write(db: Handle, request: ClaimRequest): ClaimResult | undefined {
    const seen = this.sql.read(db, request.id);
    const held = answer(seen, request);
    if (held) return held;
    this.sql.write(db, request);
    const takenOver = seen !== undefined && isUnsettled(toRecord(seen));
    return answer(this.sql.read(db, request.id), request, takenOver);
  }

  renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const sql =
      `UPDATE ${this.sql.names.table} SET lease_until = ${this.sql.now} + ? ` +
      `WHERE ${isOwnedSql(this.sql.now)}`;
    return this.connection.alone((db) => {
      const update = this.connection.prepare(db, sql);
      const isRenewed = ({ id, owner }: Claim): boolean =>
        update.run(leaseMs, this.sql.token(id), this.sql.token(owner)).changes > 0;
      const renewed = db.transaction(() => claims.filter(isRenewed)).immediate();
      return new Set(renewed.map(({ owner }) => owner));
    });
  }

  deleteExpired(limit: number): Promise<number> {
    const { table } = this.sql.names;
    return this.execute(
      `DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} ` +
        `WHERE ${isDueSql(this.sql.now)} ORDER BY sweep_at LIMIT ?)`,
      [limit],
    );
  }
}
