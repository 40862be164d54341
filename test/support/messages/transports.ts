import { randomBytes } from 'node:crypto';
import { headers as natsHeaders } from '@nats-io/transport-node';
import {
  ClientProxyFactory,
  MqttRecordBuilder,
  NatsRecordBuilder,
  RmqRecordBuilder,
  Transport,
  type ClientOptions,
  type ClientProxy,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { freePort } from '../free-port.js';

/** One of Nest's transports, as its users set it up. */
export interface MessageTransport {
  readonly name: string;
  /** Whether the server behind it is here. */
  readonly isThere: boolean;
  /** Whether a message that its handler failed comes again. */
  readonly redelivers: boolean;
  /** Whether each instance gets every event. */
  readonly fansOut: boolean;
  /** Whether messages carry headers beside their payload. */
  readonly hasHeaders: boolean;
  /** A place of its own for one test. */
  open(): Promise<MessagePlace>;
}

export interface MessagePlace {
  readonly server: MicroserviceOptions;
  readonly client: ClientProxy;
  /** The payload as it has to be sent, for the id to travel where the transport carries ids. */
  withId(payload: object, id: string | Buffer | undefined, header?: string): unknown;
  close(): Promise<void>;
}

type Connected = Pick<MessagePlace, 'server' | 'withId'> & {
  readonly clientOptions: ClientOptions;
};

async function place({ server, clientOptions, withId }: Connected): Promise<MessagePlace> {
  const client = ClientProxyFactory.create(clientOptions);
  return { server, withId, client, close: async () => client.close() as unknown as Promise<void> };
}

export function newName(): string {
  return `idempotency-${randomBytes(6).toString('hex')}`;
}

export const rabbitmq: MessageTransport = {
  name: 'RabbitMQ',
  isThere: process.env.TEST_RABBITMQ_URL !== '',
  redelivers: true,
  fansOut: false,
  hasHeaders: true,
  open: () => {
    const options = {
      urls: [process.env.TEST_RABBITMQ_URL ?? 'amqp://guest:guest@127.0.0.1:5672'],
      queue: newName(),
      queueOptions: { durable: false, autoDelete: true },
    };
    return place({
      server: { transport: Transport.RMQ, options: { ...options, noAck: false, prefetchCount: 5 } },
      clientOptions: { transport: Transport.RMQ, options },
      withId: (payload, id, header) =>
        new RmqRecordBuilder(payload)
          .setOptions(
            id === undefined
              ? {}
              : header === undefined
                ? { messageId: String(id) }
                : { headers: { [header]: id as string } },
          )
          .build(),
    });
  },
};

export const nats: MessageTransport = {
  name: 'NATS',
  isThere: process.env.TEST_NATS_URL !== '',
  redelivers: false,
  fansOut: true,
  hasHeaders: true,
  open: () => {
    const servers = [process.env.TEST_NATS_URL ?? 'nats://127.0.0.1:4222'];
    return place({
      server: { transport: Transport.NATS, options: { servers } },
      clientOptions: { transport: Transport.NATS, options: { servers } },
      withId: (payload, id, header = 'Nats-Msg-Id') => {
        const headers = natsHeaders();
        if (id !== undefined) {
          headers.set(header, String(id));
        }
        return new NatsRecordBuilder(payload).setHeaders(headers).build();
      },
    });
  },
};

export const mqtt: MessageTransport = {
  name: 'MQTT',
  isThere: process.env.TEST_MQTT_URL !== '',
  redelivers: false,
  fansOut: true,
  hasHeaders: true,
  open: () => {
    const url = process.env.TEST_MQTT_URL ?? 'mqtt://127.0.0.1:1883';
    const options = { url, protocolVersion: 5 } as const;
    return place({
      server: { transport: Transport.MQTT, options },
      clientOptions: { transport: Transport.MQTT, options },
      withId: (payload, id, header = 'idempotency-key') =>
        new MqttRecordBuilder(payload)
          .setProperties(id === undefined ? {} : { userProperties: { [header]: String(id) } })
          .setQoS(1)
          .build(),
    });
  },
};

export const redis: MessageTransport = {
  name: 'Redis',
  isThere: process.env.TEST_REDIS_URL !== '',
  redelivers: false,
  fansOut: true,
  hasHeaders: false,
  open: () => {
    const url = new URL(process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379');
    const options = { host: url.hostname, port: Number(url.port) };
    return place({
      server: { transport: Transport.REDIS, options },
      clientOptions: { transport: Transport.REDIS, options },
      withId: inPayload,
    });
  },
};

export const tcp: MessageTransport = {
  name: 'TCP',
  isThere: true,
  redelivers: false,
  fansOut: false,
  hasHeaders: false,
  open: async () => {
    const options = { host: '127.0.0.1', port: await freePort() };
    return place({
      server: { transport: Transport.TCP, options },
      clientOptions: { transport: Transport.TCP, options },
      withId: inPayload,
    });
  },
};

/** In the field that the handlers of the tests name. */
function inPayload(payload: object, id: string | Buffer | undefined): unknown {
  return { ...payload, messageId: id };
}

export const transports: readonly MessageTransport[] = [rabbitmq, nats, mqtt, redis, tcp];

export async function emit(place: MessagePlace, pattern: string, data: unknown): Promise<void> {
  await lastValueFrom(place.client.emit(pattern, data), { defaultValue: undefined });
}

export function ask<T>(place: MessagePlace, pattern: string, data: unknown): Promise<T> {
  return firstValueFrom(place.client.send<T>(pattern, data));
}
