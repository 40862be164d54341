import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { SqliteGate } from '../../../transactions/sqlite-gate.js';
import { scopeOf } from '../../../transactions/transaction-scope.js';
import type { Row } from '../rows.js';

/** What is used of a better-sqlite3 database. */
export interface Handle {
  readonly inTransaction: boolean;
  prepare(sql: string): Statement;
  pragma(sql: string, options?: { simple: true }): unknown;
  transaction<T>(body: () => T): { immediate(): T };
}

export interface Statement {
  all(...parameters: unknown[]): Row[];
  run(...parameters: unknown[]): { readonly changes: number };
}

/** An application transaction that stays open longer than this fails the statement behind it. */
export const LONGEST_WAIT_MS = 30_000;

/** The one connection that a DataSource has for everybody. */
export class SqliteConnection {
  readonly gate: SqliteGate;
  private readonly statements = new WeakMap<Handle, Map<string, Statement>>();

  constructor(private readonly dataSource: DataSource) {
    this.gate = SqliteGate.of(dataSource, () => this.handle.inTransaction);
  }

  get handle(): Handle {
    const { databaseConnection } = this.dataSource.driver as unknown as {
      readonly databaseConnection?: Handle;
    };
    if (!databaseConnection) throw new Error('the DataSource is not initialized');
    return databaseConnection;
  }

  /**
   * Runs what must not be part of a transaction of the application, whose rollback would take an acknowledged claim away:
   * when none is open, and within one turn of the event loop, in which nobody can open one.
   */
  async alone<T>(work: (db: Handle) => T): Promise<T> {
    if (scopeOf(this.dataSource)?.isOpen === true) return work(this.handle);
    const started = performance.now();
    for (let pause = 0; this.handle.inTransaction; pause = Math.min(pause + 1, 25)) {
      if (performance.now() - started > LONGEST_WAIT_MS) {
        throw new Error(`a transaction of the application has been open for ${LONGEST_WAIT_MS} ms`);
      }
      await sleep(pause);
    }
    return this.withoutBlocking(work);
  }

  /**
   * While another process writes, better-sqlite3 would sleep for up to 5 seconds with the whole event
   * loop. Here it fails at once instead, and the caller tries again. The setting is the application's:
   * it is put back before anybody else can see it.
   */
  withoutBlocking<T>(work: (db: Handle) => T): T {
    const db = this.handle;
    const timeout = Number(db.pragma('busy_timeout', { simple: true }));
    db.pragma('busy_timeout = 0');
    try {
      return work(db);
    } finally {
      db.pragma(`busy_timeout = ${timeout}`);
    }
  }

  prepare(db: Handle, sql: string): Statement {
    let cache = this.statements.get(db);
    if (!cache) this.statements.set(db, (cache = new Map<string, Statement>()));
    let statement = cache.get(sql);
    if (!statement) cache.set(sql, (statement = db.prepare(sql)));
    return statement;
  }
}
