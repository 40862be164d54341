import 'reflect-metadata';
import { Controller, Logger } from '@nestjs/common';
import {
  ClientKafka,
  Ctx,
  EventPattern,
  Payload,
  Transport,
  type KafkaContext,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { clientProxySink } from 'nestjs-idempotency/outbox';
import { openOutboxStage, soon } from '../support/outbox.js';
import { newName } from '../support/messages/transports.js';

const brokers = process.env.TEST_KAFKA_BROKERS?.split(',') ?? [];

beforeAll(() => Logger.overrideLogger(false));

(brokers.length === 0 ? it.skip : it)(
  'a sink for Kafka carries messages with their ids and their ordering keys, which a consumer knows duplicates by',
  async () => {
    const topic = newName();
    const received: { payload: unknown; key: unknown; headers: unknown }[] = [];

    @Controller()
    class Receiver {
      @EventPattern<string>(topic)
      @Idempotent()
      placed(@Payload() payload: unknown, @Ctx() context: KafkaContext): void {
        const { key, headers } = context.getMessage();
        received.push({ payload, key: key === null ? null : String(key), headers });
      }
    }

    const module = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store: memoryStore(), cleanup: false })],
      controllers: [Receiver],
    }).compile();
    const consumer = module.createNestMicroservice<MicroserviceOptions>({
      transport: Transport.KAFKA,
      options: {
        client: { brokers },
        consumer: { groupId: topic },
        subscribe: { fromBeginning: true },
      },
      logger: false,
    });
    const client = new ClientKafka({ client: { brokers }, producerOnlyMode: true });
    const stage = await openOutboxStage('sqlite');
    try {
      const { outbox } = await stage.start({ sinks: { kafka: clientProxySink(client) } });
      const sent = { order: 1 };
      const options = { orderingKey: 'o-1', headers: { trace: 't-1' } };
      const id = await outbox.emit(topic, sent, options);
      await soon(async () => expect(await stage.rows()).toEqual([]));
      await outbox.emit(topic, sent, { ...options, id }); // as if nobody knew that it was sent
      await outbox.emit(topic, { order: 2 }, options);
      await soon(async () => expect(await stage.rows()).toEqual([]));
      await consumer.listen();
      await soon(() => expect(received.at(-1)?.payload).toEqual({ order: 2 }));
      expect(received).toMatchObject([
        { payload: sent, key: 'o-1', headers: { 'idempotency-key': id, trace: 't-1' } },
        { payload: { order: 2 }, key: 'o-1' },
      ]);
    } finally {
      await stage.close();
      await client.close();
      await consumer.close();
    }
  },
  60_000,
);
