import type { INestApplication, INestMicroservice, Type } from '@nestjs/common';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import amqp, { type Options } from 'amqplib';
import {
  IdempotencyModule,
  type IdempotencyModuleOptions,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { eventually } from '../http.js';
import { countMessages } from './rabbit-probe.js';
import { newName } from './transports.js';

export const rabbitUrl = process.env.TEST_RABBITMQ_URL ?? 'amqp://guest:guest@127.0.0.1:5672';

/** How an application consumes the queue of a test. */
export interface Consuming {
  readonly prefetchCount?: number;
  readonly noAck?: boolean;
  readonly wildcards?: boolean;
  /** Another way to the same server. */
  readonly url?: string;
}

/** A queue of its own for one test, seen from outside of Nest. */
export class TestQueue {
  readonly name = newName();
  readonly deadName = `${this.name}-dead`;

  private constructor(
    private readonly connection: amqp.ChannelModel,
    private readonly channel: amqp.ConfirmChannel,
    private readonly options: Options.AssertQueue,
  ) {}

  /** Its dead letters go to a queue beside it. */
  static async open(type: 'classic' | 'quorum' = 'classic'): Promise<TestQueue> {
    const connection = await amqp.connect(rabbitUrl);
    const channel = await connection.createConfirmChannel();
    const isClassic = type === 'classic';
    const queue = new TestQueue(connection, channel, {
      durable: !isClassic,
      arguments: { 'x-queue-type': type },
    });
    queue.options.deadLetterExchange = '';
    queue.options.deadLetterRoutingKey = queue.deadName;
    await channel.assertQueue(queue.deadName, { durable: false });
    await channel.assertQueue(queue.name, queue.options);
    return queue;
  }

  async close(): Promise<void> {
    await this.channel.deleteQueue(this.name);
    await this.channel.deleteQueue(this.deadName);
    await this.channel.deleteExchange(this.name);
    await this.connection.close();
  }

  server({ url = rabbitUrl, ...options }: Consuming = {}): MicroserviceOptions {
    return {
      transport: Transport.RMQ,
      options: {
        urls: [url],
        queue: this.name,
        queueOptions: this.options,
        noAck: false,
        prefetchCount: 5,
        socketOptions: { reconnectTimeInSeconds: 0.1, connectionOptions: {} },
        ...options,
      },
    };
  }

  /** An event as any client would send it; `undefined` for an id sends none. */
  async emit(pattern: string, messageId: string | undefined, data: object = {}): Promise<void> {
    await this.publish({ pattern, data }, messageId === undefined ? {} : { messageId });
  }

  async publish(packet: object, properties: Options.Publish): Promise<void> {
    this.channel.sendToQueue(this.name, Buffer.from(JSON.stringify(packet)), properties);
    await this.channel.waitForConfirms();
  }

  async publishTo(exchange: string, routingKey: string, messageId: string): Promise<void> {
    const packet = Buffer.from(JSON.stringify({ pattern: routingKey, data: {} }));
    this.channel.publish(exchange, routingKey, packet, { messageId });
    await this.channel.waitForConfirms();
  }

  /** Sends a request and waits for the reply to it. */
  async ask(pattern: string, messageId: string, data: object = {}): Promise<object> {
    const { queue } = await this.channel.assertQueue('', { exclusive: true, autoDelete: true });
    const reply = new Promise<object>((resolve) => {
      void this.channel.consume(
        queue,
        (message) => message && resolve(JSON.parse(String(message.content)) as object),
        { noAck: true },
      );
    });
    await this.publish({ pattern, data, id: newName() }, { messageId, replyTo: queue });
    return reply;
  }

  /** How many messages wait in the queue, and how many in that of its dead letters. */
  async ready(name = this.name): Promise<number> {
    return (await this.channel.checkQueue(name)).messageCount;
  }

  /** How many messages a consumer has and did not settle. */
  async unacked(): Promise<number> {
    return (await countMessages(this.name)).unacked;
  }

  /** Nothing waits, and nobody holds anything. */
  async isSettled(): Promise<void> {
    const isEmpty = async () => (await countMessages(this.name)).all === 0;
    await eventually(isEmpty, 'everything is settled', 20_000);
  }
}

/** Whatever an application of a test consists of. */
export interface RabbitShop {
  readonly store: IdempotencyStore;
  readonly controllers: Type[];
  readonly options?: IdempotencyModuleOptions;
  readonly imports?: NonNullable<Parameters<typeof Test.createTestingModule>[0]['imports']>;
}

export async function startConsumer(
  server: MicroserviceOptions,
  shop: RabbitShop,
): Promise<INestMicroservice> {
  const app = (await shopModule(shop)).createNestMicroservice({ ...server, logger: false });
  await app.listen();
  return app;
}

/** An HTTP application that is not listening yet. */
export async function hybrid(shop: RabbitShop): Promise<INestApplication> {
  return (await shopModule(shop)).createNestApplication({ logger: false });
}

function shopModule({ store, controllers, options = {}, imports = [] }: RabbitShop) {
  return Test.createTestingModule({
    imports: [IdempotencyModule.forRoot({ store, noAck: false, ...options }), ...imports],
    controllers,
  }).compile();
}
