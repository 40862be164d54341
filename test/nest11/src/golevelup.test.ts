import 'reflect-metadata';
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Injectable, Module, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  AmqpConnection,
  Nack,
  RabbitMQModule,
  RabbitRPC,
  RabbitSubscribe,
} from '@golevelup/nestjs-rabbitmq';
import {
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  memoryStore,
  type IdempotencyHooks,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { Doings, eventually, Gate, newName, rabbitUrl } from './support.js';

interface Order {
  readonly order: string;
}

/** An application with the handlers of the tests; `queue` is where its subscribers listen. */
async function start(
  exchange: string,
  store: IdempotencyStore,
  doings: Doings,
  gate: Gate,
  hooks: IdempotencyHooks,
) {
  const to = (routingKey: string) => ({
    exchange,
    routingKey,
    queue: `${exchange}.${routingKey}`,
    queueOptions: { durable: false, autoDelete: true },
  });

  const toDead = (routingKey: string) => ({
    ...to(routingKey),
    queueOptions: {
      durable: false,
      autoDelete: true,
      arguments: {
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': `${exchange}.dead`,
      },
    },
  });

  @Injectable()
  class Shop {
    @RabbitSubscribe(to('placed'))
    @Idempotent()
    async placed({ order }: Order): Promise<unknown> {
      doings.did(`placed ${order}`);
      return { an: 'answer' };
    }

    @Idempotent()
    @RabbitSubscribe(to('given-back'))
    async givenBack({ order }: Order): Promise<object | void> {
      return doings.did(`given-back ${order}`) === 1 ? new Nack(true) : undefined;
    }

    @RabbitSubscribe(to('failing'))
    @Idempotent()
    async failing({ order }: Order): Promise<void> {
      if (doings.did(`failing ${order}`) === 1) {
        throw new Error('not yet');
      }
    }

    @RabbitSubscribe(to('held'))
    @Idempotent({ onConcurrent: 'reject', consumer: 'shop.held' })
    async held({ order }: Order): Promise<void> {
      doings.did(`held ${order}`);
      await gate.pass();
    }

    @RabbitSubscribe(toDead('keyless'))
    @Idempotent()
    async keyless({ order }: Order): Promise<void> {
      doings.did(`keyless ${order}`);
    }

    @RabbitSubscribe(toDead('poison'))
    @Idempotent({ consumer: 'shop.poison', attempts: { max: 2, backoff: 20 } })
    async poison({ order }: Order): Promise<void> {
      doings.did(`poison ${order}`);
      throw new Error('never');
    }

    @RabbitSubscribe(toDead('parked'))
    @Idempotent({ consumer: 'shop.parked', attempts: { max: 1, onExhausted: 'park' } })
    async parked({ order }: Order): Promise<void> {
      doings.did(`parked ${order}`);
      throw new Error('never');
    }

    @RabbitRPC(to('price'))
    @Idempotent({ messageId: 'order' })
    async price({ order }: Order): Promise<object> {
      return { order, run: doings.did(`price ${order}`) };
    }
  }

  @Module({
    imports: [
      IdempotencyModule.forRoot({ store, noAck: false, hooks }),
      RabbitMQModule.forRoot({
        uri: rabbitUrl,
        exchanges: [
          { name: exchange, type: 'topic', options: { durable: false, autoDelete: true } },
        ],
        connectionInitOptions: { wait: true },
        enableDirectReplyTo: true,
      }),
    ],
    providers: [Shop],
  })
  class App {}
  const app = await NestFactory.createApplicationContext(App, { logger: false });
  return { app, amqp: app.get(AmqpConnection) };
}

describe('@golevelup/nestjs-rabbitmq', () => {
  let exchange: string;
  let app: INestApplicationContext;
  let amqp: AmqpConnection;
  let doings: Doings;
  let gate: Gate;
  /** When something was refused, in milliseconds. */
  let refusals: number[];

  beforeEach(async () => {
    exchange = newName();
    doings = new Doings();
    gate = new Gate();
    refusals = [];
    const hooks = { onRejected: () => void refusals.push(performance.now()) };
    ({ app, amqp } = await start(exchange, memoryStore(), doings, gate, hooks));
  });
  afterEach(async () => {
    gate.open();
    await app.close();
  });

  const emit = (routingKey: string, messageId: string, order = messageId) =>
    amqp.publish(exchange, routingKey, { order }, { messageId });

  /** Nothing waits, and closing the channel gives nothing back: everything was settled. */
  const isEmpty = (routingKey: string) =>
    eventually(async () => {
      const { messageCount } = await amqp.channel.checkQueue(`${exchange}.${routingKey}`);
      return messageCount === 0;
    }, 'the queue is empty');

  it('processes a message that was sent twice once', async () => {
    await emit('placed', '1');
    await emit('placed', '1');
    await emit('placed', '2');
    await eventually(() => doings.times('placed 2') === 1, 'the last one was processed');
    await isEmpty('placed');
    assert.deepEqual(doings.runs, ['placed 1', 'placed 2']);
  });

  it('runs again what the handler answered with a Nack', async () => {
    await emit('given-back', '1');
    await eventually(() => doings.times('given-back 1') === 2, 'it ran again');
    await emit('given-back', '1');
    await emit('given-back', '2');
    await eventually(() => doings.times('given-back 2') === 2, 'the other one was processed');
    assert.equal(doings.times('given-back 1'), 2);
  });

  it('runs again what failed, after a while', async () => {
    const begun = performance.now();
    await emit('failing', '1');
    await eventually(() => doings.times('failing 1') === 2, 'it ran again');
    assert.ok(performance.now() - begun > 400, 'it ran in a loop');
    await emit('failing', '1');
    await emit('failing', '2');
    await eventually(() => doings.times('failing 2') === 2, 'the other one was processed');
    assert.equal(doings.times('failing 1'), 2);
  });

  it('holds back what is in flight, and skips it when that is done', async () => {
    await emit('held', '1');
    await eventually(() => doings.times('held 1') === 1, 'it runs');
    await emit('held', '1');
    await isEmpty('held'); // the second one was delivered
    gate.open();
    await emit('held', '2');
    await eventually(() => doings.times('held 2') === 1, 'the other one was processed');
    await isEmpty('held');
    assert.equal(doings.times('held 1'), 1);
  });

  describe('with a queue of dead letters', () => {
    beforeEach(async () => {
      await amqp.channel.assertQueue(`${exchange}.dead`, { durable: false });
    });
    afterEach(() => amqp.channel.deleteQueue(`${exchange}.dead`));

    const dead = (count: number) =>
      eventually(async () => {
        const { messageCount } = await amqp.channel.checkQueue(`${exchange}.dead`);
        return messageCount === count;
      }, `there are ${count} dead letters`);
    const parked = async () => (await app.get(IdempotencyService).list({ state: 'parked' })).length;

    it('leaves to them what has no id', async () => {
      await amqp.publish(exchange, 'keyless', { order: '1' });
      await dead(1);
      assert.deepEqual(doings.runs, []);
    });

    it('leaves to them what has failed as often as it may, each time that it comes', async () => {
      await emit('poison', '1');
      await dead(1);
      await emit('poison', '1');
      await dead(2);
      assert.equal(doings.times('poison 1'), 2);
      assert.equal(await parked(), 1);
    });

    it('acknowledges that with onExhausted: park', async () => {
      await emit('parked', '1');
      await eventually(async () => (await parked()) === 1, 'it is parked');
      await emit('parked', '1');
      await eventually(() => refusals.length === 1, 'it came again');
      await amqp.publish(exchange, 'keyless', { order: '1' });
      await dead(1);
      await isEmpty('parked');
      await amqp.channel.recover(); // whatever is not settled is delivered again
      await emit('parked', '2');
      await eventually(async () => (await parked()) === 2, 'the other one is parked');
      assert.deepEqual(doings.runs, ['parked 1', 'parked 2']);
    });
  });

  it('does not turn in a loop what comes while the application closes', async () => {
    await emit('held', '1');
    await eventually(() => doings.times('held 1') === 1, 'it runs');
    const closing = app.close();
    await emit('placed', '1');
    await eventually(() => refusals.length === 2, 'it came again');
    gate.open();
    await closing;
    const [first, second] = refusals as [number, number];
    assert.ok(second - first > 900, 'it came straight back');
    assert.deepEqual(doings.runs, ['held 1']);
  });

  it('has settled everything: nothing comes again when the channel is closed', async () => {
    await emit('placed', '1');
    await emit('placed', '1');
    await emit('placed', '2');
    await eventually(() => doings.times('placed 2') === 1, 'the last one was processed');
    await amqp.channel.recover(); // whatever is not settled is delivered again
    await emit('placed', '3');
    await eventually(() => doings.times('placed 3') === 1, 'the marker was processed');
    assert.deepEqual(doings.runs, ['placed 1', 'placed 2', 'placed 3']);
  });

  it('replays the reply to a request', async () => {
    const ask = () =>
      amqp.request<object>({ exchange, routingKey: 'price', payload: { order: 'A-1' } });
    const first = await ask();
    assert.deepEqual(first, { order: 'A-1', run: 1 });
    assert.deepEqual(await ask(), first);
  });
});
