import type { InjectionToken } from '@nestjs/common';
import { lastValueFrom, type Observable } from 'rxjs';
import { show } from '../../option-values.js';
import { misconfigured } from '../../options-check.js';
import type { OutboxMessage, Resolve, Sink } from '../message.js';
import { reportDirectPublishing } from './direct-publishing.js';
import {
  checkIdField,
  recordsOf,
  type MakeRecord,
  type MessageIdOptions,
} from './client-records.js';

const WHERE = 'clientProxySink()';

/** What is used of Nest's `ClientProxy`. */
export interface EmittingClient {
  emit(pattern: string, data: unknown): Observable<unknown>;
  send(pattern: string, data: unknown): Observable<unknown>;
}

export type ClientProxySinkOptions = MessageIdOptions;

/**
 * Hands messages to a `ClientProxy` of `@nestjs/microservices` as events. The id travels in the header
 * `idempotency-key`, and where the transport has one of its own, as that: `messageId` (RabbitMQ), `Nats-Msg-Id`;
 * on MQTT, which needs protocol version 5, as a user property. A message counts as sent when the broker has confirmed
 * it (RabbitMQ, Kafka, MQTT), has taken it (NATS, Redis), or when it is written to the socket (TCP).
 *
 * @param client the client, or the token that it is provided with
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`
 */
export function clientProxySink(
  client: EmittingClient | InjectionToken,
  options: ClientProxySinkOptions = {},
): Sink {
  const { idField } = options;
  checkIdField(WHERE, idField);
  let target: EmittingClient;
  let record: MakeRecord;
  return {
    async open(resolve: Resolve): Promise<void> {
      target = isClient(client) ? client : checked(resolve(client));
      record = await recordsOf(WHERE, target, idField);
      reportDirectPublishing(target);
    },
    async publish(message: OutboxMessage): Promise<void> {
      await lastValueFrom(target.emit(message.pattern, record.make(message)), {
        defaultValue: undefined,
      });
      await record.confirm?.();
    },
  };
}

function isClient(client: unknown): client is EmittingClient {
  return typeof (Object(client) as Partial<EmittingClient>).emit === 'function';
}

function checked(client: unknown): EmittingClient {
  if (!isClient(client)) {
    throw misconfigured(WHERE, `the provider is ${show(client)}. Give the token of a ClientProxy.`);
  }
  return client;
}
