import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { EntityManager } from 'typeorm';

/**
 * Writes that belong to no transaction of an idempotent operation go through here. In one that does, use the
 * repositories: they are part of it already, and on SQLite a turn here would wait for its end.
 */
@Injectable()
export class Transactions {
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly dataSource: DataSource) {}

  run<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    if (this.dataSource.options.type !== 'better-sqlite3') {
      return this.dataSource.transaction(work);
    }
    // TypeORM has one SQLite connection for the whole DataSource: two transactions at once would be one, and the
    // rollback of the one would take the rows of the other. So these queue among themselves, as the library
    // keeps its own apart from everything else.
    const turn = this.last.then(() => this.dataSource.transaction(work));
    this.last = turn.catch(() => undefined);
    return turn;
  }
}
