import type { DataSource } from 'typeorm';
import type { Duration } from '../engine/duration.js';
import type { OutboxSink } from './message.js';
import type { OutboxTableOptions } from './schema.js';

/** What every hook is told. Never a payload, a header or an ordering key. */
export interface OutboxEvent {
  readonly id: string;
  readonly pattern: string;
  readonly sink: string;
  /** 1 for the first time it was sent. */
  readonly attempt: number;
}

/**
 * Told once the outbox has it in writing: not by a relay that died or was overtaken, but by the next one. A hook returns
 * nothing, is not awaited, and what it throws is dropped.
 */
export interface OutboxHooks {
  /** The sink has the message. */
  onSent?(event: OutboxEvent): void;
  /** The sink did not take it; it is tried again later, unless it is parked. */
  onFailed?(event: OutboxEvent & { readonly error: unknown }): void;
  /** All its attempts are used up. It stays in the table until somebody redrives or discards it. */
  onParked?(event: OutboxEvent & { readonly error: unknown }): void;
}

export interface OutboxModuleOptions extends OutboxTableOptions {
  /** Where messages go, each by a name of its own: 1 to 64 letters, digits, `.`, `_` or `-`. */
  readonly sinks: Readonly<Record<string, OutboxSink>>;
  /**
   * The DataSource, or the name it has in `TypeOrmModule.forRoot({ name })`. Messages of operations commit with
   * them only in the DataSource of the idempotency store.
   * @default that of the idempotency store
   */
  readonly dataSource?: string | DataSource;
  /**
   * Whether this process sends messages, or only writes them for others to send.
   * @default true
   */
  readonly relay?: boolean;
  /**
   * How often a relay looks for messages that nobody has told it of, such as delayed ones.
   * @default '1s'
   */
  readonly pollInterval?: Duration;
  /**
   * How many messages of a sink are on their way at once, in each process. 1 to 1,000.
   * @default 100
   */
  readonly batchSize?: number;
  /**
   * How long a message stays with a relay that died, before another takes it over. A sink that has not answered
   * after half of it has failed.
   * @default '30s'
   */
  readonly lease?: Duration;
  /**
   * How often a message is tried before it is parked, and how long it rests after the first failure: twice as
   * long after each further one, up to an hour.
   * @default { max: 10, backoff: '1s' }
   */
  readonly attempts?: { readonly max?: number; readonly backoff?: Duration };
  /**
   * How long the rows of sent messages stay in the table.
   * @default they are deleted at once
   */
  readonly keepSent?: Duration;
  /**
   * How long the application waits, when it shuts down, for messages that are on their way.
   * @default '10s'
   */
  readonly shutdownTimeout?: Duration;
  readonly hooks?: OutboxHooks;
}
