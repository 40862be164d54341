import { Global, Module } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { ClientProxyFactory } from '@nestjs/microservices';
import type { ClientProxy } from '@nestjs/microservices';
import { OutboxModule, clientProxySink } from 'nestjs-idempotency/outbox';
import type { Broker } from './broker.js';
import { FULFILMENT, FulfilmentClient } from './fulfilment.client.js';
import { ID_FIELD } from './order-placed.js';

/** What the shop tells the fulfilment service: written with the order, sent once that is committed. */
@Global()
@Module({})
export class MessagingModule {
  static forRoot({ client }: Broker): DynamicModule {
    return {
      module: MessagingModule,
      imports: [
        OutboxModule.forRootAsync({
          inject: [FULFILMENT],
          useFactory: (fulfilment: ClientProxy) => ({
            sinks: { fulfilment: clientProxySink(fulfilment, { idField: ID_FIELD }) },
          }),
        }),
      ],
      providers: [
        { provide: FULFILMENT, useFactory: () => ClientProxyFactory.create(client) },
        FulfilmentClient,
      ],
      exports: [FULFILMENT, FulfilmentClient],
    };
  }
}
