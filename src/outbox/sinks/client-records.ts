import { IdempotencyError } from '../../engine/errors.js';
import { isRecord, show } from '../../option-values.js';
import { misconfigured } from '../../options-check.js';
import type { OutboxMessage } from '../message.js';

/** What a message says of itself, whoever sends it. */
export type Identified = Pick<OutboxMessage, 'id' | 'payload' | 'headers' | 'orderingKey'>;

export interface MessageIdOptions {
  /**
   * The field of the payload that the id is written into, for receivers with
   * `@Idempotent({ messageId: '<field>' })`. Needed where messages have no headers: Redis, TCP, and clients of your
   * own. The payload must then be an object.
   * @default the id travels in the headers only
   */
  readonly idField?: string;
}

/** Transports whose messages have headers. */
type HeaderTransport = 'rabbitmq' | 'nats' | 'mqtt' | 'kafka';

/** How a transport carries a message with its id. */
export interface MakeRecord {
  make(message: Identified): unknown;
  /** Resolves when the broker has what was emitted so far, where emitting does not wait for that. */
  confirm?(): Promise<unknown>;
}

/** Nest's clients, and classes derived from them. By name, as there may be another copy of Nest. */
const CLIENTS: Readonly<Record<string, HeaderTransport>> = {
  ClientRMQ: 'rabbitmq',
  ClientNats: 'nats',
  ClientMqtt: 'mqtt',
  ClientKafka: 'kafka',
};

/** `undefined` for clients whose messages have no headers, as far as anybody knows. */
function transportOf(client: object): HeaderTransport | undefined {
  for (let at: unknown = client; at !== null; at = Object.getPrototypeOf(at) as unknown) {
    const { name } = (at as object).constructor;
    if (Object.hasOwn(CLIENTS, name)) {
      return CLIENTS[name];
    }
  }
  return undefined;
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
export function checkIdField(where: string, idField: unknown): void {
  if (idField !== undefined && (typeof idField !== 'string' || idField === '')) {
    throw misconfigured(
      where,
      `option 'idField' is ${show(idField)}. Write the name of a field, such as 'messageId'.`,
    );
  }
}

/**
 * How the messages of a client carry their ids.
 *
 * @param where the function of ours that was called, for errors
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when they cannot
 */
export async function recordsOf(
  where: string,
  client: object,
  idField: string | undefined,
): Promise<MakeRecord> {
  const transport = transportOf(client);
  if (transport === undefined && idField === undefined) {
    throw misconfigured(
      where,
      'the messages of this client have no headers that could carry their ids. Write ' +
        `${where.replace('()', "(client, { idField: 'messageId' })")}, and ` +
        "@Idempotent({ messageId: 'messageId' }) at the receiver.",
    );
  }
  const { make, confirm } = await recordFor(transport, client);
  return {
    make: (message) =>
      make(message, idField === undefined ? message.payload : filled(message, idField, where)),
    ...(confirm && { confirm }),
  };
}

function filled({ id, payload }: Identified, field: string, where: string): object {
  if (!isRecord(payload)) {
    throw new IdempotencyError(
      'IDEMPOTENCY_MISCONFIGURED',
      `${where}: the payload has no fields, and the id was to be written into '${field}'. Give an object.`,
    );
  }
  return { ...payload, [field]: id };
}

interface TransportRecord extends Pick<MakeRecord, 'confirm'> {
  make(message: Identified, data: unknown): unknown;
}

async function recordFor(
  transport: HeaderTransport | undefined,
  client: object,
): Promise<TransportRecord> {
  switch (transport) {
    case undefined:
      return { make: (_, data) => data };
    case 'kafka':
      // of one partition, and so in order
      return {
        make: (message, value) => ({ key: message.orderingKey, value, headers: headers(message) }),
      };
    case 'rabbitmq': {
      const { RmqRecordBuilder } = await import('@nestjs/microservices');
      return {
        make: (message, data) =>
          new RmqRecordBuilder(data)
            .setOptions({ messageId: message.id, headers: headers(message), persistent: true })
            .build(),
      };
    }
    case 'mqtt': {
      const { MqttRecordBuilder } = await import('@nestjs/microservices');
      return {
        make: (message, data) =>
          new MqttRecordBuilder(data)
            // at least once: without it nobody confirms anything
            .setQoS(1)
            .setProperties({ userProperties: headers(message) })
            .build(),
      };
    }
    case 'nats': {
      const { NatsRecordBuilder } = await import('@nestjs/microservices');
      const natsHeaders = await natsHeadersOf();
      const { unwrap } = client as { unwrap(): { flush(): Promise<void> } };
      return {
        make: (message, data) => {
          const all = natsHeaders();
          for (const [name, value] of Object.entries(headers(message))) {
            all.set(name, value);
          }
          all.set('Nats-Msg-Id', message.id);
          return new NatsRecordBuilder(data).setHeaders(all).build();
        },
        confirm: () => unwrap.call(client).flush(),
      };
    }
  }
}

function headers({ id, headers: own }: Identified): Record<string, string> {
  return { ...own, 'idempotency-key': id };
}

interface NatsHeaders {
  set(name: string, value: string): void;
}

/** Of the client that Nest uses: `nats` up to version 11, `@nats-io/transport-node` since. */
async function natsHeadersOf(): Promise<() => NatsHeaders> {
  const before: string = 'nats';
  const { headers: make } = (await import('@nats-io/transport-node').catch(
    () => import(before) as Promise<unknown>,
  )) as { headers(): NatsHeaders };
  return make;
}
