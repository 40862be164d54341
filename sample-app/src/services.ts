import type { AddressInfo, Server } from 'node:net';
import type { INestMicroservice } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { createApp } from './app.js';
import type { DatabaseConfig } from './database/database.options.js';
import { startFulfilment } from './fulfilment/fulfilment.js';
import { broker, tcp } from './messaging/broker.js';
import type { Broker } from './messaging/broker.js';

export interface ServicesOptions {
  readonly brokerUrl?: string | undefined;
  /** The queue of the fulfilment service, where a broker has queues. */
  readonly queue?: string;
  readonly orders?: DatabaseConfig;
  readonly fulfilment?: DatabaseConfig;
  /** How often each message is delivered. */
  readonly copies?: number;
  readonly logger?: false;
}

export interface Services {
  readonly orders: NestExpressApplication;
  readonly fulfilment: INestMicroservice;
  readonly broker: Broker;
}

/** Both services in this process. Without a broker they speak over TCP. */
export async function startServices(options: ServicesOptions): Promise<Services> {
  const { brokerUrl, queue, orders, fulfilment, copies = 1, ...common } = options;
  const between = brokerUrl ? broker(brokerUrl, queue) : tcp();
  const second = await startFulfilment({ ...common, broker: between, database: fulfilment ?? {} });
  const reached = brokerUrl
    ? between
    : tcp((second.unwrap<Server>().address() as AddressInfo).port);
  const first = await createApp({ ...common, broker: reached, copies, database: orders ?? {} });
  return { orders: first, fulfilment: second, broker: reached };
}
