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
  memoryStore,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { Doings, eventually, Gate, newName, rabbitUrl } from './support.js';

interface Order {
  readonly order: string;
}

/** An application with the handlers of the tests; `queue` is where its subscribers listen. */
async function start(exchange: string, store: IdempotencyStore, doings: Doings, gate: Gate) {
  const to = (routingKey: string) => ({
    exchange,
    routingKey,
    queue: `${exchange}.${routingKey}`,
    queueOptions: { durable: false, autoDelete: true },
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

    @RabbitSubscribe({
      ...to('keyless'),
      queueOptions: {
        durable: false,
        autoDelete: true,
        arguments: {
          'x-dead-letter-exchange': '',
          'x-dead-letter-routing-key': `${exchange}.dead`,
        },
      },
    })
    @Idempotent()
    async keyless({ order }: Order): Promise<void> {
      doings.did(`keyless ${order}`);
    }

    @RabbitRPC(to('price'))
    @Idempotent({ messageId: 'order' })
    async price({ order }: Order): Promise<object> {
      return { order, run: doings.did(`price ${order}`) };
    }
  }

  @Module({
    imports: [
      IdempotencyModule.forRoot({ store, noAck: false }),
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

  beforeEach(async () => {
    exchange = newName();
    doings = new Doings();
    gate = new Gate();
    ({ app, amqp } = await start(exchange, memoryStore(), doings, gate));
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

  it('leaves to the dead letters what has no id', async () => {
    const dead = `${exchange}.dead`;
    await amqp.channel.assertQueue(dead, { durable: false, autoDelete: true });
    await amqp.publish(exchange, 'keyless', { order: '1' });
    await eventually(
      async () => (await amqp.channel.checkQueue(dead)).messageCount === 1,
      'it is dead',
    );
    await amqp.channel.deleteQueue(dead);
    assert.deepEqual(doings.runs, []);
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
