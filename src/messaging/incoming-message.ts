/** How a message reached its handler. `golevelup`: `@golevelup/nestjs-rabbitmq`; `other`: a custom transport. */
export type MessageTransport =
  | 'rabbitmq'
  | 'golevelup'
  | 'kafka'
  | 'nats'
  | 'redis'
  | 'mqtt'
  | 'tcp'
  | 'grpc'
  | 'graphql'
  | 'other';

/** A delivery, reduced to what transports have in common. */
export interface IncomingMessage {
  readonly transport: MessageTransport;
  /** Whether somebody waits for an answer; an event otherwise. */
  readonly isRequest: boolean;
  /** As it was deserialised: before pipes, and not validated. */
  readonly payload: unknown;
  /** Names in lower case; values as the transport brings them. */
  readonly headers: ReadonlyMap<string, unknown>;
  /** What the transport itself calls the message's id. */
  readonly id?: unknown;
  /** Where it lies in its log (`topic:partition:offset`), the same for each redelivery. */
  readonly position?: string;
}
