import type { DataSource, QueryRunner } from 'typeorm';
import { scopeOf } from '../transactions/transaction-scope.js';
import type { Notifications } from './notifications.js';

/** Tells relays that a message was committed. A hint only: whoever misses it finds the message by polling. */
export class WakeUp {
  private readonly waiting = new WeakSet<QueryRunner>();
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly dataSource: DataSource,
    /** Where other processes can be told. */
    private readonly others: Notifications | undefined,
  ) {
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
    if (this.listeners.size === 0) {
      this.others?.listen(() => this.callOwn());
    }
    this.listeners.add(listener);
  }

  async close(): Promise<void> {
    await this.others?.close();
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
    if (this.listeners.size === 0) {
      this.others?.tell(); // who sends messages himself needs nobody else for them
    }
    this.callOwn();
  }

  private callOwn(): void {
    for (const listener of this.listeners) {
      listener();
    }
  }
}
