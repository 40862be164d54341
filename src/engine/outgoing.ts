import type { Duration } from './duration.js';

/** The transaction that the application itself has begun, such as TypeORM's `EntityManager`. */
export interface TransactionManager {
  query(sql: string, parameters?: unknown[]): Promise<unknown>;
}

export interface OutgoingOptions {
  /**
   * The name of the sink that the message goes to.
   * @default the only one there is, or the one named `default`
   */
  readonly to?: string;
  /**
   * Messages of one ordering key reach their sink one at a time, in the order in which they were written.
   * One that is delayed, fails or is parked holds back those behind it. 1 to 255 characters.
   */
  readonly orderingKey?: string;
  /** How long after it was written the message is sent, at the earliest. */
  readonly delay?: Duration;
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * What the receiver knows the message by; two messages with the same id are one, over all sinks. 1 to 128 printable ASCII
   * characters.
   * @default inside of an operation, the same in every attempt of its key; outside, a random one
   */
  readonly id?: string;
  /** The application's own transaction (`dataSource.transaction((manager) => …)`), which the message becomes a part of. */
  readonly manager?: TransactionManager;
}

/** Messages that leave when what they belong to is committed. */
export interface OutgoingMessages {
  /**
   * Writes a message to the outbox. It is a part of the transaction that the code runs in (a transactional
   * operation, `once.transaction()`, or `manager`), and durable at once where there is none. Answers its id.
   *
   * @param pattern the topic, event or job name, 1 to 255 characters
   * @param payload what `JSON.stringify` can write down
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a message that cannot be kept, and without an
   *   `OutboxModule`; `…_STORE_UNAVAILABLE` when the database did not answer; `…_IN_PROGRESS` when the attempt
   *   has lost its lease
   */
  emit(pattern: string, payload: unknown, options?: OutgoingOptions): Promise<string>;
}
