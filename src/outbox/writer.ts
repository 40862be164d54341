import type { DataSource, QueryRunner } from 'typeorm';
import { digest } from '../engine/identity.js';
import type { OutgoingMessages, OutgoingOptions, TransactionManager } from '../engine/outgoing.js';
import type { Dialect } from '../stores/typeorm/dialects/dialect.js';
import { isDuplicate } from '../stores/typeorm/dialects/mysql-errors.js';
import { driverError } from '../stores/typeorm/errors.js';
import { familyOf } from '../stores/typeorm/schema.js';
import { scopeOf } from '../transactions/transaction-scope.js';
import { newMessage, type NewMessage } from './new-message.js';
import { persistently, storeUnavailable } from './persistently.js';
import { PENDING, SLOTS, type OutboxNames } from './schema.js';
import type { WakeUp } from './wake-up.js';

type Send = (sql: string, parameters: readonly unknown[]) => Promise<unknown>;

/** Writes messages, in the transaction that is open where they are written. */
export class OutboxWriter implements OutgoingMessages {
  constructor(
    private readonly dataSource: DataSource,
    private readonly dialect: Dialect,
    private readonly names: OutboxNames,
    private readonly sinks: readonly string[],
    private readonly wakeUp: WakeUp,
  ) {}

  async emit(pattern: string, payload: unknown, options: OutgoingOptions = {}): Promise<string> {
    const message = newMessage(pattern, payload, options, this.sinks);
    const { manager } = options;
    if (manager !== undefined) {
      await this.writeWithin(message, manager).catch((error: unknown) => {
        throw storeUnavailable(error);
      });
      return message.id;
    }
    if (scopeOf(this.dataSource)?.isOpen === true) {
      // by way of TypeORM, where it takes its turn and counts as a statement of the work; and not sent again, as an
      // error may have undone what is around it
      await this.write(message, this.joined).catch((error: unknown) => {
        throw storeUnavailable(error);
      });
    } else {
      await persistently(this.dialect, () => this.writeAlone(message));
    }
    this.wakeUp.written(undefined);
    return message.id;
  }

  private readonly own: Send = (sql, parameters) =>
    sql.startsWith('SELECT')
      ? this.dialect.select(sql, parameters)
      : this.dialect.execute(sql, parameters);

  private readonly joined: Send = (sql, parameters) =>
    this.dataSource.query(this.dialect.sql.placed(sql), [...parameters]);

  /** The lock of an ordering key must last until the message is committed, and so needs a transaction. */
  private async writeAlone(message: NewMessage): Promise<void> {
    if (message.orderingKey === null || this.dialect.name === 'sqlite') {
      await this.write(message, this.own);
    } else {
      await this.dataSource.transaction((manager) => this.writeWithin(message, manager));
    }
  }

  private async writeWithin(message: NewMessage, manager: TransactionManager): Promise<void> {
    await this.write(message, (sql, parameters) =>
      manager.query(this.dialect.sql.placed(sql), [...parameters]),
    );
    this.wakeUp.written((manager as { queryRunner?: QueryRunner }).queryRunner);
  }

  private async write(message: NewMessage, send: Send): Promise<void> {
    if (message.orderingKey !== null) {
      await this.lockOrder(message.sink, message.orderingKey, send);
    }
    const { id, sink, pattern, payload, headers, orderingKey, delayMs } = message;
    const {
      name,
      sql: { now },
    } = this.dialect;
    const isMySql = familyOf(name) === 'mysql';
    // bound as bytes the text is safe under every sql_mode and charset of the connection
    const text = isMySql ? 'CONVERT(? USING utf8mb4)' : '?';
    const bound = (value: string | null): unknown =>
      isMySql && value !== null ? Buffer.from(value) : value;
    const sql =
      `INSERT INTO ${this.names.table} (id, sink, pattern, payload, headers, ordering_key, state, ` +
      `available_at, attempts, lease_until, created_at) VALUES (?, ?, ${text}, ?, ?, ${text}, ${PENDING}, ` +
      `${now} + ?, 0, 0, ${now})${isMySql ? '' : ' ON CONFLICT (id) DO NOTHING'}`;
    const parameters = [id, sink, bound(pattern), payload, headers, bound(orderingKey), delayMs];
    try {
      await send(sql, parameters);
    } catch (error) {
      // it is there already
      if (!isMySql || !isDuplicate(driverError(error))) {
        throw error;
      }
    }
  }

  /**
   * One after the other until the commit: a message that is numbered before another one of its ordering key, and
   * committed after it, would be overtaken. SQLite has one writer at a time anyway.
   */
  private async lockOrder(sink: string, orderingKey: string, send: Send): Promise<void> {
    const { name } = this.dialect;
    if (name === 'sqlite') {
      return;
    }
    const hash = digest(['nestjs-idempotency/order/1', this.names.table, sink, orderingKey]);
    if (name === 'postgres') {
      await send('SELECT pg_advisory_xact_lock(?::bigint)', [String(hash.readBigInt64BE())]);
    } else {
      const slot = hash.readUInt32BE() % SLOTS;
      await send(`SELECT slot FROM ${this.names.slots} WHERE slot = ? FOR UPDATE`, [slot]);
    }
  }
}
