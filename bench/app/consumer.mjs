/**
 * A consumer of a RabbitMQ queue as an application of its own process: sells something for each message. What guards
 * its handler comes as JSON in the first argument; the parent says when it begins.
 */
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, EventPattern, Payload, Transport } from '@nestjs/microservices';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { Idempotent, IdempotencyModule } from 'nestjs-idempotency';
import { answer } from '../lib/ipc.mjs';
import { decorate, decorateMethod } from './decorate.mjs';
import { sell, Sale, Stock } from './shop.mjs';

/** @type {{ mode?: 'lease' | 'transactional', database: object, url: string, queue: string, prefetch: number }} */
const { mode, database, url, queue, prefetch } = JSON.parse(process.argv[2]);

class Consumer {
  constructor(dataSource) {
    this.dataSource = dataSource;
  }

  async ordered(order, context) {
    if (mode === 'transactional') {
      return sell(this.dataSource.manager, order, order.key);
    }
    await this.dataSource.transaction((manager) => sell(manager, order, order.key));
    if (mode === undefined) {
      context.getChannelRef().ack(context.getMessage());
    }
  }
}
const guard = mode === undefined ? [] : [Idempotent({ mode })];
decorateMethod(Consumer, 'ordered', [EventPattern('ordered'), ...guard], [Payload(), Ctx()]);
decorate(Consumer, [Controller()]);
Reflect.defineMetadata('self:paramtypes', [{ index: 0, param: getDataSourceToken() }], Consumer);

class AppModule {}
const imports = [TypeOrmModule.forRoot({ ...database, entities: [Sale, Stock] })];
if (mode !== undefined) {
  imports.push(IdempotencyModule.forRoot({ noAck: false }));
}
decorate(AppModule, [Module({ imports, controllers: [Consumer] })]);

const app = await NestFactory.createMicroservice(AppModule, {
  transport: Transport.RMQ,
  options: {
    urls: [url],
    queue,
    queueOptions: { durable: true },
    noAck: false,
    prefetchCount: prefetch,
  },
  logger: ['error', 'warn'],
});

answer({
  begin: () => app.listen(),
  cpuMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
});
process.send('ready');
