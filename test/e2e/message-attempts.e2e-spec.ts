import 'reflect-metadata';
import { Controller, type INestMicroservice } from '@nestjs/common';
import { Ctx, EventPattern, RmqContext, Transport } from '@nestjs/microservices';
import { connect, type Channel, type ChannelModel } from 'amqplib';
import { Idempotent, IdempotencyService, memoryStore } from 'nestjs-idempotency';
import { eventually } from '../support/http.js';
import { startShop } from '../support/messages/message-shop.js';
import { newName, rabbitmq } from '../support/messages/transports.js';

const url = process.env.TEST_RABBITMQ_URL ?? 'amqp://guest:guest@127.0.0.1:5672';

/** What the handlers do, and how often they did. */
let runs: string[] = [];
let isBroken = true;

@Controller()
class Billing {
  @EventPattern<string>('poison')
  @Idempotent({ consumer: 'billing.poison', attempts: { max: 3, backoff: 20 } })
  bill(): void {
    runs.push('bill');
    if (isBroken) {
      throw new Error('no such account');
    }
  }

  @EventPattern<string>('acknowledged')
  @Idempotent({
    consumer: 'billing.acknowledged',
    attempts: { max: 2, backoff: 20, onExhausted: 'park' },
  })
  acknowledged(@Ctx() context: RmqContext): void {
    if (runs.push('acknowledged') === 1) {
      throw new Error('no such account');
    }
    // its own word counts no more for a message that is parked
    (context.getChannelRef() as Channel).nack(context.getMessage() as never, false, false);
  }
}

(rabbitmq.isThere ? describe : describe.skip)('A message that fails again and again', () => {
  let connection: ChannelModel;
  let channel: Channel;
  let queue: string;
  let app: INestMicroservice;
  let service: IdempotencyService;

  beforeEach(async () => {
    runs = [];
    isBroken = true;
    queue = newName();
    connection = await connect(url);
    channel = await connection.createChannel();
    await channel.assertQueue(`${queue}-dead`, { durable: false, autoDelete: true });
    const queueOptions = {
      durable: false,
      autoDelete: true,
      deadLetterExchange: '',
      deadLetterRoutingKey: `${queue}-dead`,
    };
    const options = { urls: [url], queue, queueOptions, noAck: false };
    const place = { server: { transport: Transport.RMQ as const, options } };
    app = await startShop(place, memoryStore(), [Billing]);
    service = app.get(IdempotencyService);
  });
  afterEach(async () => {
    await app.close();
    await connection.close();
  });

  function send(pattern = 'poison'): void {
    const content = Buffer.from(JSON.stringify({ pattern, data: {} }));
    channel.sendToQueue(queue, content, { messageId: 'm-1' });
  }
  const key = { key: 'm-1', operation: 'billing.poison' };
  const dead = async () => (await channel.checkQueue(`${queue}-dead`)).messageCount;

  it('is parked with its last error and goes to the dead letters', async () => {
    send();
    await eventually(async () => (await dead()) === 1, 'it is a dead letter');
    expect(runs).toHaveLength(3);
    expect(await service.list({ state: 'parked' })).toMatchObject([
      { key: 'm-1', lastError: { name: 'Error', message: 'no such account' } },
    ]);
    expect((await channel.checkQueue(queue)).messageCount).toBe(0);
  });

  it('is not run when it comes again, and is once it was redriven', async () => {
    send();
    await eventually(async () => (await dead()) === 1, 'it is a dead letter');
    send();
    await eventually(async () => (await dead()) === 2, 'it is one again');
    expect(runs).toHaveLength(3);

    isBroken = false;
    expect(await service.redrive(key)).toBe(true);
    send();
    await eventually(() => runs.length === 4, 'it was run');
    await eventually(async () => (await service.find(key))?.state === 'completed', 'it is done');
    expect(await dead()).toBe(2);
  });

  it('is acknowledged with onExhausted: park, each time that it comes', async () => {
    const isParked = async () =>
      (await service.find({ key: 'm-1', operation: 'billing.acknowledged' }))?.state === 'parked';
    send('acknowledged');
    await eventually(isParked, 'it is parked');
    send('acknowledged');
    send(); // and behind it one that goes to the dead letters
    await eventually(async () => (await dead()) === 1, 'only the other one is a dead letter');
    expect(await service.list({ state: 'parked' })).toHaveLength(2);
    expect(runs.filter((run) => run === 'acknowledged')).toHaveLength(2);
  });

  it('is skipped and settled once it was discarded', async () => {
    send();
    await eventually(async () => (await dead()) === 1, 'it is a dead letter');
    expect(await service.discard(key)).toBe(true);
    send();
    await eventually(
      async () => (await channel.checkQueue(queue)).messageCount === 0,
      'it was delivered',
    );
    expect([runs.length, await dead()]).toEqual([3, 1]);
  });
});
