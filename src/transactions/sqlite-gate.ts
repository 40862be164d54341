import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { Turns } from './turns.js';

const LONGEST_PAUSE_MS = 25;

/**
 * SQLite has one connection for the whole DataSource: a statement of somebody else would become part of
 * the transaction that is open on it, and be undone with it. While the gate is closed they wait outside.
 */
export class SqliteGate {
  private static readonly gates = new WeakMap<DataSource, SqliteGate>();
  private readonly starts = new Turns();
  private sending = 0;
  private opened: Promise<void> | undefined;
  private openIt: (() => void) | undefined;

  private constructor(private readonly inTransaction: () => boolean) {}

  /** The one of this DataSource, however many stores are on it. */
  static of(dataSource: DataSource, inTransaction: () => boolean): SqliteGate {
    let gate = SqliteGate.gates.get(dataSource);
    if (gate === undefined) {
      gate = new SqliteGate(inTransaction);
      SqliteGate.gates.set(dataSource, gate);
    }
    return gate;
  }

  /** Sends a statement of somebody else. */
  async pass<T>(send: () => Promise<T>): Promise<T> {
    while (this.opened !== undefined) {
      await this.opened;
    }
    this.sending += 1;
    try {
      return await send();
    } finally {
      this.sending -= 1;
    }
  }

  /**
   * Begins a transaction of somebody else. Those that had to wait come one after the other: of two at the
   * same time TypeORM would end the wrong one.
   */
  async start(begin: () => Promise<void>): Promise<void> {
    if (this.opened === undefined) {
      return begin();
    }
    return this.starts.take(async () => {
      for (let pause = 0; this.isTaken(); pause = Math.min(pause + 1, LONGEST_PAUSE_MS)) {
        await (this.opened ?? sleep(pause));
      }
      await begin();
    });
  }

  /**
   * Closes the gate once nobody else is at it, nor has a transaction open, and runs `begin` in the same turn
   * of the event loop. Stays open when that fails.
   */
  async close<T>(begin: () => T, giveUpAfterMs: number): Promise<T> {
    const started = performance.now();
    for (let pause = 0; this.isTaken(); pause = Math.min(pause + 1, LONGEST_PAUSE_MS)) {
      if (performance.now() - started > giveUpAfterMs) {
        throw new Error(`another transaction has been open for ${giveUpAfterMs} ms`);
      }
      await (this.opened ?? sleep(pause));
    }
    const begun = begin();
    this.opened = new Promise((resolve) => {
      this.openIt = resolve;
    });
    return begun;
  }

  open(): void {
    this.opened = undefined;
    this.openIt?.();
  }

  private isTaken(): boolean {
    return this.opened !== undefined || this.sending > 0 || this.inTransaction();
  }
}
