import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'amqplib';
import { rabbitMqUrl } from '../lib/databases.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { median, ratio, spread } from '../lib/stats.mjs';
import { createShop, expectSales, expectStockTaken } from './shop.mjs';

const VARIANTS = {
  'without the decorator': {},
  lease: { mode: 'lease' },
  transactional: { mode: 'transactional' },
};
const PREFETCH = [1, 16];

/** A queue that is full before anybody consumes it, emptied with and without the decorator. */
export async function messages({ messageRounds: rounds, messages: count }) {
  const rows = [];
  for (const prefetch of PREFETCH) {
    rows.push(...(await measure({ prefetch, rounds, count })));
  }
  return `# Messages over RabbitMQ

A durable queue with ${count} persistent messages, each with an id of its own, and one consumer that takes something from the
stock (one UPDATE) and writes down the sale (one INSERT) in PostgreSQL. *Without the decorator* the handler does so in
\`dataSource.transaction()\` and acknowledges by hand; *lease* is the same handler with \`@Idempotent()\`, which acknowledges for
it; *transactional* leaves the transaction to \`@Idempotent({ mode: 'transactional' })\`. From the first connection to the empty
queue, over ${rounds} interleaved rounds: the median (lowest–highest). *CPU* is what the consumer's process spent on a message.

${table(['Prefetch', 'Handler', 'messages/s', 'against without', 'CPU, ms'], rows)}

Every message had one sale; the benchmark fails otherwise.
`;
}

async function measure({ prefetch, rounds, count }) {
  const results = Object.fromEntries(Object.keys(VARIANTS).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, guard] of Object.entries(VARIANTS)) {
      results[name].push(await empty({ ...guard, prefetch, count }));
    }
  }
  return Object.entries(results).map(([name, own]) => [
    prefetch,
    name,
    wholeSpread(spread(own.map(({ perSecond }) => perSecond))),
    ratioSpread(ratio(own, results['without the decorator'])),
    ms(median(own.map(({ cpuMs }) => cpuMs))),
  ]);
}

async function empty({ mode, prefetch, count }) {
  const { options, drop } = await createShop();
  const connection = await connect(rabbitMqUrl);
  const channel = await connection.createConfirmChannel();
  const queue = `bench-${randomUUID()}`;
  await channel.assertQueue(queue, { durable: true });
  for (let index = 0; index < count; index += 1) {
    const key = randomUUID();
    const content = { pattern: 'ordered', data: { key, quantity: 1 } };
    channel.sendToQueue(queue, Buffer.from(JSON.stringify(content)), {
      messageId: key,
      persistent: true,
    });
  }
  await channel.waitForConfirms();
  const config = { mode, database: options, url: rabbitMqUrl, queue, prefetch };
  const consumer = await start('app/consumer.mjs', [JSON.stringify(config)]);
  try {
    const cpuBefore = await consumer.ask('cpuMs');
    const begun = performance.now();
    await consumer.ask('begin');
    await emptied(channel, queue, count, options.url);
    const seconds = (performance.now() - begun) / 1_000;
    const cpuMs = ((await consumer.ask('cpuMs')) - cpuBefore) / count;
    await expectSales(options.url, count);
    await expectStockTaken(options.url);
    return { perSecond: count / seconds, cpuMs };
  } finally {
    await consumer.stop();
    await channel.deleteQueue(queue);
    await connection.close();
    await drop();
  }
}

/** Nothing is ready, and the last sale is committed. */
async function emptied(channel, queue, count, url) {
  for (;;) {
    const { messageCount } = await channel.checkQueue(queue);
    if (messageCount === 0) {
      try {
        return await expectSales(url, count);
      } catch {
        // the last ones are being processed
      }
    }
    await sleep(5);
  }
}
