import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { EntityManager } from 'typeorm';

/** Every write of the application goes through here. */
@Injectable()
export class Transactions {
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly dataSource: DataSource) {}

  run<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    if (this.dataSource.options.type !== 'better-sqlite3') {
      // Each decision is a conditional UPDATE, so no transaction needs a snapshot of its own.
      return this.dataSource.transaction('READ COMMITTED', work);
    }
    // TypeORM has one SQLite connection for the whole DataSource: two transactions at once would be
    // one, and the rollback of the one would take the rows of the other. So they queue.
    const turn = this.last.then(() => this.dataSource.transaction(work));
    this.last = turn.catch(() => undefined);
    return turn;
  }
}
