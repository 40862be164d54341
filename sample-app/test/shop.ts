import type { AddressInfo } from 'node:net';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { startServices } from '../src/services.js';
import type { Services, ServicesOptions } from '../src/services.js';
import { Client, key } from './client.js';
import type { Answer } from './client.js';
import type { TestDatabase } from './databases.js';

/** The application on a database of its own, and those who talk to it. */
export class Shop {
  private constructor(
    readonly services: Services,
    readonly alice: Client,
    readonly bob: Client,
    readonly database: TestDatabase,
    readonly port: number,
  ) {}

  static async open(
    createDatabase: () => Promise<TestDatabase>,
    options: Pick<ServicesOptions, 'brokerUrl' | 'queue' | 'copies'> = {},
  ): Promise<Shop> {
    const database = await createDatabase();
    const { config: orders, fulfilment } = database;
    const services = await startServices({ ...options, orders, fulfilment, logger: false });
    await services.orders.listen(0, '127.0.0.1');
    const { port } = services.orders.getHttpServer().address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    return new Shop(services, new Client(url, 'alice'), new Client(url, 'bob'), database, port);
  }

  get app(): NestExpressApplication {
    return this.services.orders;
  }

  async close(): Promise<void> {
    await this.app.close();
    await this.services.fulfilment.close();
    await this.database.drop();
  }

  /** The id of a new order. */
  async placed(client = this.alice): Promise<string> {
    return (await client.place()).json.id;
  }

  pay(id: string, headers = key(), simulate = {}): Promise<Answer> {
    return this.alice.post(`/orders/${id}/pay`, headers, { simulate });
  }

  /** What an action changed, so that no test depends on the ones before it; what it left alone is not listed. */
  async changes(action: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await this.counted();
    await action();
    const after = await this.counted();
    return Object.fromEntries(
      Object.entries(after)
        .map(([name, count]) => [name, count - before[name]!] as const)
        .filter(([, change]) => change !== 0),
    );
  }

  private async counted(): Promise<Record<string, number>> {
    // what the other service does comes later
    const { stock, mails: _, reservations: __, ...counters } = await this.alice.counters();
    return { ...counters, ...stock };
  }
}
