import { Global, Module } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { ClientsModule } from '@nestjs/microservices';
import { OutboxModule, clientProxySink } from 'nestjs-idempotency/outbox';
import type { Broker } from './broker.js';
import { deliveredOften } from './delivered-often.js';
import { FULFILMENT, FulfilmentClient } from './fulfilment.client.js';
import { ID_FIELD } from './order-placed.js';

/** What the shop tells the fulfilment service: written with the order, sent once that is committed. */
@Global()
@Module({})
export class MessagingModule {
  /** @param copies how often each message is delivered: brokers may do so more than once */
  static forRoot({ client }: Broker, copies: number): DynamicModule {
    const sink = clientProxySink(FULFILMENT, { idField: ID_FIELD });
    return {
      module: MessagingModule,
      imports: [
        ClientsModule.register([{ name: FULFILMENT, ...client }]),
        OutboxModule.forRoot({
          sinks: { fulfilment: deliveredOften(sink, copies) },
          // what a process that died was about to send goes out soon
          lease: '5s',
        }),
      ],
      providers: [FulfilmentClient],
      exports: [FulfilmentClient],
    };
  }
}
