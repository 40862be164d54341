/**
 * Attacks the two services of the sample and the broker between them: processes that die between an effect and what
 * tells of it, a broker that is killed, deliveries that come again. In the end every order that a client was told of
 * is there, and each order has exactly one reservation and one mail.
 *
 *   npm run chaos:messages -- --seconds 60
 */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { buildServices } from '../build.js';
import { startPostgres } from '../database/postgres.js';
import { Random } from '../random.js';
import { RabbitMq } from './rabbitmq.js';
import { Service, type ServiceOptions } from './services.js';

const CLIENTS = 6;
const SETTLE_MS = 60_000;
const { values } = parseArgs({
  options: { seconds: { type: 'string' }, seed: { type: 'string' } },
});
const seconds = Number(values.seconds ?? 10);
const random = new Random(Number(values.seed ?? Math.floor(Math.random() * 2 ** 31)));

const [build, postgres, broker] = await Promise.all([
  buildServices(),
  startPostgres(),
  RabbitMq.start(),
]);
const databaseUrl = (postgres.options(postgres.port) as { url: string }).url;
const database = new pg.Pool({ connectionString: databaseUrl });
const common = { databaseUrl, brokerUrl: broker.url, queue: 'fulfilment' };
const options = (kind: ServiceOptions['kind'], dies: number): ServiceOptions => ({
  ...common,
  kind,
  dies,
});
// the first of each migrates the database
const orders = [new Service(build.path, options('orders', 0.02))];
const fulfilment = [new Service(build.path, options('fulfilment', 0.05))];
await until(() => orders[0]?.port !== 0, 'the orders listen');
await until(async () => (await count('sent_mail').catch(() => -1)) === 0, 'fulfilment is ready');
orders.push(new Service(build.path, options('orders', 0.02)));
fulfilment.push(new Service(build.path, options('fulfilment', 0.05)));

await database.query('UPDATE stock SET quantity = 1000000000');

/** Keys that a client got an order for. */
const acknowledged = new Map<string, string>();
let brokerCrashes = 0;
let isOver = false;

await attack(seconds);
const violations = await judge();
const services = [...orders, ...fulfilment];
const deaths = services.reduce((sum, { deaths: own }) => sum + own, 0);
console.log(
  `messages: ${seconds} s, ${deaths} processes died, ${brokerCrashes} times the broker\n` +
    `  orders: ${await count('orders')}, acknowledged ${acknowledged.size}; ` +
    `reservations ${await count('reservation')}, mails ${await count('sent_mail')}\n` +
    (violations.length === 0
      ? '  every promise was kept'
      : `  FAILED:\n    ${violations.join('\n    ')}`),
);

// the same without a memory, which must be noticed
const forgetting = setInterval(() => {
  void database.query('DELETE FROM fulfilment_idempotency').catch(() => undefined);
}, 20);
await attack(seconds / 2);
clearInterval(forgetting);
const caught = (await judge()).filter((violation) => violation.includes('2 times'));
console.log(
  caught.length > 0
    ? '  without records: caught, as it must be'
    : '  FAILED: nobody noticed that the records were gone',
);

await Promise.all(services.map((service) => service.close()));
await database.end();
await broker.close();
await postgres.close();
await build.remove();
const isGood = violations.length === 0 && caught.length > 0 && acknowledged.size > 0 && deaths > 0;
process.exit(isGood ? 0 : 1);

/** Clients at work while everything dies, and then the time it takes to come to rest. */
async function attack(lasting: number): Promise<void> {
  isOver = false;
  const clients = Array.from({ length: CLIENTS }, () => client());
  const end = performance.now() + lasting * 1_000;
  while (performance.now() < end) {
    await sleep(random.between(500, 1_000));
    const dice = random.next();
    if (dice < 0.35) {
      random.pick(fulfilment).kill();
    } else if (dice < 0.55) {
      random.pick(orders).kill();
    } else if (dice < 0.65 && brokerCrashes < Math.max(2, seconds / 20)) {
      brokerCrashes += 1;
      await broker.crash();
    }
  }
  isOver = true;
  await Promise.all(clients);
  await until(
    async () =>
      (await count('idempotency_outbox')) === 0 &&
      (await count('sent_mail')) >= (await count('orders')),
    'every order was mailed',
    SETTLE_MS,
  ).catch((error: unknown) => console.log(`  ${String(error)}`));
}

/** Places one order after the other, and repeats each until it is told of it. */
async function client(): Promise<void> {
  while (!isOver) {
    const key = randomUUID();
    while (!acknowledged.has(key)) {
      const { port } = random.pick(orders);
      const id = port === 0 ? undefined : await place(port, key).catch(() => undefined);
      if (id === undefined) {
        await sleep(50);
      } else {
        acknowledged.set(key, id);
      }
    }
    await sleep(20);
  }
}

async function place(port: number, key: string): Promise<string | undefined> {
  const response = await fetch(`http://127.0.0.1:${port}/orders`, {
    method: 'POST',
    headers: {
      Authorization: 'Bearer alice',
      'Content-Type': 'application/json',
      'Idempotency-Key': key,
    },
    body: JSON.stringify({ sku: 'coffee', quantity: 1 }),
    signal: AbortSignal.timeout(5_000),
  });
  return response.status === 201 ? ((await response.json()) as { id: string }).id : undefined;
}

async function count(table: string): Promise<number> {
  const { rows } = await database.query<{ count: string }>(`SELECT count(*) FROM ${table}`);
  return Number(rows[0]?.count);
}

/** One to one, and nobody was told of an order that is not there. */
async function judge(): Promise<string[]> {
  const { rows } = await database.query<{ id: string; what: string; times: string }>(
    `SELECT o.id, effect.what, count(e.order_id) AS times
     FROM orders o CROSS JOIN (VALUES ('reservation'), ('mail')) AS effect(what)
     LEFT JOIN (SELECT 'reservation' AS what, order_id FROM reservation
                UNION ALL SELECT 'mail', order_id FROM sent_mail) e
       ON e.order_id = o.id AND e.what = effect.what
     GROUP BY o.id, effect.what HAVING count(e.order_id) <> 1`,
  );
  const strays = await database.query<{ order_id: string }>(
    `SELECT order_id FROM reservation WHERE order_id NOT IN (SELECT id FROM orders)
     UNION ALL SELECT order_id FROM sent_mail WHERE order_id NOT IN (SELECT id FROM orders)`,
  );
  const placed = new Set(
    (await database.query<{ id: string }>('SELECT id FROM orders')).rows.map(({ id }) => id),
  );
  const told = [...acknowledged.values()];
  return [
    ...rows.map(({ id, what, times }) => `order ${id} has ${times} times a ${what}`),
    ...strays.rows.map(({ order_id: id }) => `there is no order ${id}, but something for it`),
    ...told
      .filter((id) => !placed.has(id))
      .map((id) => `a client was told of order ${id}, which is not there`),
    ...(new Set(told).size === told.length ? [] : ['two keys were answered with one order']),
    ...(placed.size - told.length > 0
      ? [`${placed.size - told.length} orders that nobody was told of`]
      : []),
  ];
}

async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  ms = 30_000,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) {
      throw new Error(`After ${ms} ms still not: ${what}`);
    }
    await sleep(50);
  }
}
