import type { InjectionToken } from '@nestjs/common';
import { lastValueFrom, type Observable } from 'rxjs';
import { IdempotencyError } from '../../engine/errors.js';
import { isRecord, show } from '../../option-values.js';
import { misconfigured } from '../../options-check.js';
import type { OutboxMessage, Resolve, Sink } from '../message.js';
import { reportDirectPublishing } from './direct-publishing.js';
import { recordFor, transportOf, type MakeRecord } from './client-records.js';

const WHERE = 'clientProxySink()';

/** What is used of Nest's `ClientProxy`. */
export interface EmittingClient {
  emit(pattern: string, data: unknown): Observable<unknown>;
  send(pattern: string, data: unknown): Observable<unknown>;
}

export interface ClientProxySinkOptions {
  /**
   * The field of the payload that the id is written into, for receivers with
   * `@Idempotent({ messageId: '<field>' })`. Needed where messages have no headers: Redis, TCP, and clients of your
   * own. The payload must then be an object.
   * @default the id travels in the headers only
   */
  readonly idField?: string;
}

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
  if (idField !== undefined && (typeof idField !== 'string' || idField === '')) {
    throw misconfigured(
      WHERE,
      `option 'idField' is ${show(idField)}. Write the name of a field, such as 'messageId'.`,
    );
  }
  let target: EmittingClient;
  let record: MakeRecord;
  return {
    async open(resolve: Resolve): Promise<void> {
      target = isClient(client) ? client : checked(resolve(client));
      const transport = transportOf(target);
      if (transport === undefined && idField === undefined) {
        throw misconfigured(
          WHERE,
          'the messages of this client have no headers that could carry their ids. Write ' +
            "clientProxySink(client, { idField: 'messageId' }), and @Idempotent({ messageId: 'messageId' }) at the " +
            'receiver.',
        );
      }
      record = await recordFor(transport, target);
      reportDirectPublishing(target);
    },
    async publish(message: OutboxMessage): Promise<void> {
      const data = idField === undefined ? message.payload : withField(message, idField);
      await lastValueFrom(target.emit(message.pattern, record.make(message, data)), {
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

function withField({ id, payload }: OutboxMessage, field: string): object {
  if (!isRecord(payload)) {
    throw new IdempotencyError(
      'IDEMPOTENCY_MISCONFIGURED',
      `clientProxySink(): the payload has no fields, and the id was to be written into '${field}'. Emit an object.`,
    );
  }
  return { ...payload, [field]: id };
}
