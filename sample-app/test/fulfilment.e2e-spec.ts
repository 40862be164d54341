import { randomUUID } from 'node:crypto';
import { eventually } from '../../test/support/http.js';
import { key } from './client.js';
import { databases } from './databases.js';
import { Shop } from './shop.js';

const brokers = [
  ['TCP', undefined],
  ['RabbitMQ', process.env.TEST_RABBITMQ_URL],
  ['NATS', process.env.TEST_NATS_URL],
].filter(([, url]) => url !== '') as [string, string | undefined][];

/** Every order is told to the fulfilment service three times over. */
const COPIES = 3;

describe.each(databases)('the fulfilment service with %s', (_database, createDatabase) => {
  describe.each(brokers)('over %s', (_broker, brokerUrl) => {
    let shop: Shop;

    beforeAll(async () => {
      shop = await Shop.open(createDatabase, {
        brokerUrl,
        copies: COPIES,
        queue: `orders-${randomUUID()}`,
      });
    });
    afterAll(() => shop?.close());

    it('reserves and mails once for each order', async () => {
      const keys = Array.from({ length: 10 }, key);
      // each of them twice at once
      await Promise.all([...keys, ...keys].map((headers) => shop.alice.place(headers)));
      await eventually(
        async () => (await shop.alice.counters()).mails === 10,
        'ten mails were sent',
        20_000,
      );
      const { orders, reservations, mails } = await shop.alice.counters();
      expect({ orders, reservations, mails }).toEqual({ orders: 10, reservations: 10, mails: 10 });
    });

    it('is told nothing of an order that was not placed', async () => {
      const before = await shop.alice.counters();
      const tooMany = { sku: 'tea', quantity: 9_999 };
      expect((await shop.alice.place(key(), tooMany)).status).toBe(409);
      // the next order goes out behind it, if there is anything before it
      await shop.placed();
      await eventually(
        async () => (await shop.alice.counters()).mails === before.mails + 1,
        'the next order was mailed',
      );
      expect((await shop.alice.counters()).reservations).toBe(before.reservations + 1);
    });
  });
});
