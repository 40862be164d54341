import type { AddressInfo } from 'node:net';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { createApp } from '../src/app.js';
import { Client, key } from './client.js';
import type { Answer } from './client.js';
import type { TestDatabase } from './databases.js';

/** The application on a database of its own, and those who talk to it. */
export class Shop {
  private constructor(
    readonly app: NestExpressApplication,
    readonly alice: Client,
    readonly bob: Client,
    readonly database: TestDatabase,
  ) {}

  static async open(createDatabase: () => Promise<TestDatabase>): Promise<Shop> {
    const database = await createDatabase();
    const app = await createApp({ database: database.config, logger: false });
    await app.listen(0, '127.0.0.1');
    const url = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
    return new Shop(app, new Client(url, 'alice'), new Client(url, 'bob'), database);
  }

  async close(): Promise<void> {
    await this.app.close();
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
    const { stock, ...counters } = await this.alice.counters();
    return { ...counters, ...stock };
  }
}
