/**
 * Both services under a load of duplicates: every order is asked for several times at once, and every message is
 * delivered several times. Prints what really happened.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Counters } from './lab/lab.controller.js';
import { startServices } from './services.js';

const ORDERS = 100;
const COPIES = 5;

const home = await mkdtemp(join(tmpdir(), 'duplicates-'));
const { BROKER_URL } = process.env;
const services = await startServices({
  brokerUrl: BROKER_URL,
  copies: COPIES,
  queue: `duplicates-${randomUUID()}`,
  orders: { file: join(home, 'orders.sqlite') },
  fulfilment: { file: join(home, 'fulfilment.sqlite') },
});
await services.orders.listen(0, '127.0.0.1');
const url = await services.orders.getUrl();

try {
  console.log(
    `${ORDERS} orders, each asked for ${COPIES} times at once, each message delivered ${COPIES} times …`,
  );
  const asked = await Promise.all(
    Array.from({ length: ORDERS }, randomUUID).flatMap((key) =>
      Array.from({ length: COPIES }, () => place(key)),
    ),
  );
  const placed = new Set(asked.filter((id) => id !== undefined));
  const counters = await settled();
  console.log(JSON.stringify(counters, undefined, 2));
  const { orders, reservations, mails } = counters;
  const isOnce = [placed.size, orders, reservations, mails].every((count) => count === ORDERS);
  console.log(isOnce ? 'Nothing happened twice.' : 'Something happened twice, or not at all.');
  process.exitCode = isOnce ? 0 : 1;
} finally {
  await services.orders.close();
  await services.fulfilment.close();
  await rm(home, { recursive: true });
}

/** The id of the order, or nothing while another copy is being processed. */
async function place(key: string): Promise<string | undefined> {
  for (;;) {
    const response = await fetch(`${url}/orders`, {
      method: 'POST',
      headers: {
        Authorization: 'Bearer alice',
        'Content-Type': 'application/json',
        'Idempotency-Key': key,
      },
      body: JSON.stringify({ sku: 'coffee', quantity: 1 }),
    });
    const { id } = (await response.json()) as { id?: string };
    if (response.status !== 409) {
      return id;
    }
    await sleep(50);
  }
}

/** What was counted once everything has arrived and a while has passed in which more could have. */
async function settled(): Promise<Counters> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const response = await fetch(`${url}/lab/counters`);
    const counters = (await response.json()) as Counters;
    if (counters.mails >= ORDERS || Date.now() > deadline) {
      await sleep(1_000);
      return (await (await fetch(`${url}/lab/counters`)).json()) as Counters;
    }
    await sleep(100);
  }
}
