import { Transport, type ClientOptions, type MicroserviceOptions } from '@nestjs/microservices';

/** How the services of the shop reach each other. */
export interface Broker {
  readonly server: MicroserviceOptions;
  readonly client: ClientOptions;
}

const QUEUE = 'fulfilment';

/**
 * `amqp://…` for RabbitMQ, `nats://…` for NATS.
 *
 * @param queue another one for each test, which goes with it
 */
export function broker(url: string, queue = QUEUE): Broker {
  const protocol = URL.canParse(url) ? new URL(url).protocol : '';
  switch (protocol) {
    case 'amqp:':
    case 'amqps:': {
      const options = {
        urls: [url],
        queue,
        queueOptions: { durable: true, autoDelete: queue !== QUEUE },
      };
      return {
        // the message waits in the queue until the library acknowledges it
        server: {
          transport: Transport.RMQ,
          options: { ...options, noAck: false, prefetchCount: 20 },
        },
        client: { transport: Transport.RMQ, options },
      };
    }
    case 'nats:': {
      const servers = [url];
      return {
        server: { transport: Transport.NATS, options: { servers, queue } },
        client: { transport: Transport.NATS, options: { servers } },
      };
    }
    default:
      throw new Error('Set BROKER_URL to an amqp:// or nats:// address.');
  }
}

/** Without a broker, for one process: TCP on a port of this machine. */
export function tcp(port = 0): Broker {
  const options = { host: '127.0.0.1', port };
  return {
    server: { transport: Transport.TCP, options },
    client: { transport: Transport.TCP, options },
  };
}
