import type { InjectionToken } from '@nestjs/common';

/** A message as a sink is given it. */
export interface OutboxMessage {
  /** The same whenever the message is sent again: what a receiver tells duplicates by. */
  readonly id: string;
  /** The topic, event or job name. */
  readonly pattern: string;
  /** As `JSON.parse` reads what was written. */
  readonly payload: unknown;
  readonly headers: Readonly<Record<string, string>>;
  readonly orderingKey: string | undefined;
  /** 1 when it is sent for the first time. */
  readonly attempt: number;
  /** Of the database's clock. */
  readonly createdAt: Date;
}

/** Finds a provider of the application by its token. */
export type Resolve = (token: InjectionToken) => unknown;

/** Hands a message on; it counts as sent when the promise resolves, and is tried again when it rejects. */
export type SendMessage = (message: OutboxMessage) => unknown;

/** Where messages go: a function, or what `clientProxySink()` and `bullMqSink()` make. */
export interface Sink {
  /** Called once before the first message, when the application starts. */
  open?(resolve: Resolve): void | Promise<void>;
  publish: SendMessage;
}

export type OutboxSink = SendMessage | Sink;

/** A message whose attempts are used up, as people see it. */
export interface ParkedMessage {
  /** Its place in the order of writing, for `after` of the next page. */
  readonly position: string;
  readonly id: string;
  readonly pattern: string;
  readonly sink: string;
  readonly orderingKey: string | undefined;
  readonly attempts: number;
  /** The kind of the last error, never its text: that may quote the message. */
  readonly lastError: string | undefined;
  readonly createdAt: Date;
}
