import type { OutboxMessage } from '../message.js';

/** Transports whose messages have headers. */
export type HeaderTransport = 'rabbitmq' | 'nats' | 'mqtt' | 'kafka';

/** How a transport carries a message with its id. */
export interface MakeRecord {
  make(message: OutboxMessage, data: unknown): unknown;
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
export function transportOf(client: object): HeaderTransport | undefined {
  for (let at: unknown = client; at !== null; at = Object.getPrototypeOf(at) as unknown) {
    const { name } = (at as object).constructor;
    if (Object.hasOwn(CLIENTS, name)) {
      return CLIENTS[name];
    }
  }
  return undefined;
}

export async function recordFor(
  transport: HeaderTransport | undefined,
  client: object,
): Promise<MakeRecord> {
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

function headers({ id, headers: own }: OutboxMessage): Record<string, string> {
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
