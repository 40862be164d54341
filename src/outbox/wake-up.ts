import type { DataSource, QueryRunner } from 'typeorm';
import { scopeOf } from '../transactions/transaction-scope.js';

/** Tells relays that a message was committed. A hint only: whoever misses it finds the message by polling. */
export class WakeUp {
  private readonly waiting = new WeakSet<QueryRunner>();
  private readonly listeners = new Set<() => void>();

  constructor(private readonly dataSource: DataSource) {
    // TypeORM asks each subscriber only for what it has
    dataSource.subscribers.push({
      afterTransactionCommit: ({ queryRunner }) => {
        if (!queryRunner.isTransactionActive && this.waiting.delete(queryRunner)) {
          this.call();
        }
      },
    });
  }

  listen(listener: () => void): void {
    this.listeners.add(listener);
  }

  /** A message was written: by itself, or in a transaction that is still open. */
  written(within: QueryRunner | undefined): void {
    const scope = scopeOf(this.dataSource);
    const runner = scope?.isOpen === true ? scope.runner : within;
    if (runner === undefined) {
      this.call();
    } else {
      this.waiting.add(runner);
    }
  }

  call(): void {
    for (const listener of this.listeners) {
      listener();
    }
  }
}
