import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Body, Controller, Module, Post, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClientProxyFactory,
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  RmqContext,
  Transport,
  type ClientProxy,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { Idempotent, IdempotencyModule, memoryStore } from 'nestjs-idempotency';
import { Doings, eventually, newName, rabbitUrl } from './support.js';

interface Order {
  readonly order: string;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const places = {
  RabbitMQ: async () => {
    const options = {
      urls: [rabbitUrl],
      queue: newName(),
      queueOptions: { durable: false, autoDelete: true },
    };
    return {
      server: { transport: Transport.RMQ, options: { ...options, noAck: false } },
      client: ClientProxyFactory.create({ transport: Transport.RMQ, options }),
    };
  },
  TCP: async () => {
    const options = { host: '127.0.0.1', port: await freePort() };
    return {
      server: { transport: Transport.TCP, options },
      client: ClientProxyFactory.create({ transport: Transport.TCP, options }),
    };
  },
} as const;

for (const [name, open] of Object.entries(places)) {
  describe(`Nest 11, hybrid over ${name}`, () => {
    let doings: Doings;
    let app: INestApplication;
    let client: ClientProxy;

    beforeEach(async () => {
      doings = new Doings();

      @Controller()
      class Shop {
        @EventPattern<string>('placed')
        @Idempotent({ messageId: 'order' })
        placed(@Payload() { order }: Order, @Ctx() context: unknown): void {
          if (context instanceof RmqContext) {
            context.getChannelRef().ack(context.getMessage());
          }
          doings.did(`placed ${order}`);
        }

        @EventPattern<string>('failing')
        @Idempotent({ messageId: 'order' })
        failing(@Payload() { order }: Order): void {
          if (doings.did(`failing ${order}`) === 1) {
            throw new Error('not yet');
          }
        }

        @MessagePattern('price')
        @Idempotent({ messageId: 'order' })
        price(@Payload() { order }: Order): object {
          return { order, run: doings.did(`price ${order}`) };
        }

        @Post('orders')
        @Idempotent()
        order(@Body() { order }: Order): object {
          return { order, run: doings.did(`ordered ${order}`) };
        }
      }

      @Module({
        imports: [IdempotencyModule.forRoot({ store: memoryStore(), noAck: false })],
        controllers: [Shop],
      })
      class App {}

      const place = await open();
      client = place.client;
      app = await NestFactory.create(App, { logger: false });
      app.connectMicroservice<MicroserviceOptions>(place.server as MicroserviceOptions);
      await app.startAllMicroservices();
      await app.listen(0, '127.0.0.1');
      await client.connect();
    });
    afterEach(async () => {
      await client.close();
      await app.close();
    });

    const emit = (pattern: string, order: string) =>
      lastValueFrom(client.emit(pattern, { order }), { defaultValue: undefined });
    const ask = (order: string) => firstValueFrom(client.send<object>('price', { order }));

    it('processes an event that was sent twice once', async () => {
      await emit('placed', '1');
      await emit('placed', '1');
      await emit('placed', '2');
      await eventually(() => doings.times('placed 2') === 1, 'the last one was processed');
      assert.deepEqual(doings.runs, ['placed 1', 'placed 2']);
    });

    it('runs again what failed', async () => {
      await emit('failing', '1');
      if (name === 'TCP') {
        await eventually(() => doings.times('failing 1') === 1, 'it ran');
        await eventually(async () => {
          await emit('failing', '1');
          return doings.times('failing 1') === 2;
        }, 'it ran again');
      }
      await eventually(() => doings.times('failing 1') === 2, 'it ran again');
    });

    it('replays the reply to a request', async () => {
      assert.deepEqual(await ask('1'), { order: '1', run: 1 });
      assert.deepEqual(await ask('1'), { order: '1', run: 1 });
      assert.deepEqual(await ask('2'), { order: '2', run: 1 });
    });

    it('answers HTTP beside it, once', async () => {
      const post = async () => {
        const response = await fetch(`${await app.getUrl()}/orders`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'idempotency-key': 'key-1' },
          body: JSON.stringify({ order: '1' }),
        });
        return { status: response.status, body: await response.json() };
      };
      assert.deepEqual(await post(), { status: 201, body: { order: '1', run: 1 } });
      assert.deepEqual(await post(), { status: 201, body: { order: '1', run: 1 } });
    });
  });
}
