import 'reflect-metadata';
import { Controller, Logger } from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  Payload,
  type MicroserviceOptions,
  type RmqContext,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { Queue } from 'bullmq';
import { IdempotencyModule, Idempotent, memoryStore } from 'nestjs-idempotency';
import { bullMqSink, clientProxySink } from 'nestjs-idempotency/outbox';
import { openOutboxStage, soon, type OutboxStage } from '../support/outbox.js';
import { newName, transports, type MessagePlace } from '../support/messages/transports.js';

let received: { payload: unknown; context: unknown }[] = [];

/** A receiver whose own `@Idempotent()` knows a message by the id that the outbox gave it. */
@Controller()
class Receiver {
  @EventPattern('order.placed')
  @Idempotent({ messageId: 'messageId' })
  placed(@Payload() payload: unknown, @Ctx() context: unknown): void {
    received.push({ payload, context });
  }
}

async function listen(server: MicroserviceOptions): Promise<{ close(): Promise<void> }> {
  const module = await Test.createTestingModule({
    imports: [IdempotencyModule.forRoot({ store: memoryStore(), cleanup: false, noAck: false })],
    controllers: [Receiver],
  }).compile();
  const app = module.createNestMicroservice<MicroserviceOptions>({ ...server, logger: false });
  await app.listen();
  return app;
}

beforeAll(() => Logger.overrideLogger(false));

describe.each(transports.filter(({ isThere }) => isThere))('a sink for $name', (transport) => {
  let stage: OutboxStage;
  let place: MessagePlace;
  let receiver: { close(): Promise<void> };

  beforeEach(async () => {
    received = [];
    stage = await openOutboxStage('sqlite');
    place = await transport.open();
    receiver = await listen(place.server);
  });
  afterEach(async () => {
    await stage.close();
    await receiver.close();
    await place.close();
  });

  it('carries a message, and its id that the receiver knows duplicates by', async () => {
    const idField = transport.hasHeaders ? {} : { idField: 'messageId' };
    const { service, outbox } = await stage.start({
      sinks: { broker: clientProxySink(place.client, idField) },
    });
    // two messages with one id: as if the relay had died before it could say that the first was sent
    const id = await service.execute({ key: 'k1', mode: 'transactional' }, (once) =>
      once.outbox.emit('order.placed', { order: 1 }, { headers: { trace: 't-1' } }),
    );
    await soon(async () => expect(await stage.rows()).toEqual([]));
    await soon(() => expect(received).toHaveLength(1));
    await outbox.emit('order.placed', { order: 1 }, { id, headers: { trace: 't-1' } });
    await outbox.emit('order.placed', { order: 2 });
    await soon(() => expect(received).toHaveLength(2));
    const order = (n: number) =>
      transport.hasHeaders ? { order: n } : { order: n, messageId: expect.any(String) };
    expect(received.map(({ payload }) => payload)).toEqual([order(1), order(2)]);
    await soon(async () => expect(await stage.rows()).toEqual([]));
    if (transport.name === 'RabbitMQ') {
      const { properties } = (received[0]!.context as RmqContext).getMessage() as {
        properties: object;
      };
      expect(properties).toMatchObject({
        messageId: id,
        deliveryMode: 2,
        headers: { 'idempotency-key': id, trace: 't-1' },
      });
    }
  });
});

it('adds jobs to a BullMQ queue, and no second one for a message that is sent again', async () => {
  const stage = await openOutboxStage('sqlite');
  const url = new URL(process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379');
  const connection = { host: url.hostname, port: Number(url.port) };
  const queue = new Queue(newName(), { connection });
  try {
    const { outbox } = await stage.start({ sinks: { jobs: bullMqSink(queue) } });
    await outbox.emit('mail', { to: 'a' }, { id: '42' });
    await soon(async () => expect(await stage.rows()).toEqual([]));
    await outbox.emit('mail', { to: 'a' }, { id: '42' });
    await soon(async () => expect(await stage.rows()).toEqual([]));
    const jobs = await queue.getJobs();
    expect(jobs.map(({ id, name, data }) => ({ id, name, data }))).toEqual([
      { id: 'message-42', name: 'mail', data: { to: 'a' } },
    ]);
  } finally {
    await stage.close();
    await queue.obliterate({ force: true });
    await queue.close();
  }
});
