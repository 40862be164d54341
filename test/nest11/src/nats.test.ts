import 'reflect-metadata';
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClientNats,
  EventPattern,
  Payload,
  Transport,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { clientProxySink } from 'nestjs-idempotency/outbox';
import { Doings, eventually, newName } from './support.js';

const servers = [process.env['TEST_NATS_URL'] || 'nats://127.0.0.1:4222'];

it('Nest 11 sends the messages of an outbox over NATS, with ids that a receiver knows duplicates by', async () => {
  const subject = newName();
  const doings = new Doings();

  @Controller()
  class Receiver {
    @EventPattern<string>(subject)
    @Idempotent()
    placed(@Payload() { order }: { order: string }): void {
      doings.did(order);
    }
  }

  @Module({
    imports: [IdempotencyModule.forRoot({ store: memoryStore() })],
    controllers: [Receiver],
  })
  class App {}

  const app = await NestFactory.createMicroservice<MicroserviceOptions>(App, {
    transport: Transport.NATS,
    options: { servers },
    logger: false,
  });
  await app.listen();
  const client = new ClientNats({ servers });
  try {
    await client.connect();
    const sink = clientProxySink(client);
    await sink.open?.(() => client);
    const publish = (id: string, order: string) =>
      sink.publish({
        id,
        pattern: subject,
        payload: { order },
        headers: { trace: 't-1' },
        orderingKey: undefined,
        attempt: 1,
        createdAt: new Date(),
      });
    await publish('1', 'a');
    await publish('1', 'a');
    await publish('2', 'b');
    await eventually(() => doings.times('b') === 1, 'the last one was processed');
    assert.deepEqual(doings.runs, ['a', 'b']);
  } finally {
    await client.close();
    await app.close();
  }
});
