import { setTimeout as sleep } from 'node:timers/promises';
import { createDatabase } from '../lib/databases.mjs';
import { table, whole, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { percentile, spread } from '../lib/stats.mjs';

const RELAYS = [1, 4];
const PER_SECOND = 100;

/** What relays get through, and how long a message is on its way. */
export async function outbox({ outboxRounds: rounds, outboxMessages: count }) {
  const rows = [];
  for (const relays of RELAYS) {
    const throughput = [];
    const latencies = [];
    for (let round = 0; round < rounds; round += 1) {
      throughput.push(await drain(relays, count));
      latencies.push(...(await trickle(relays, count / 10)));
    }
    rows.push([
      relays,
      wholeSpread(spread(throughput)),
      whole(percentile(latencies, 0.5)),
      whole(percentile(latencies, 0.99)),
    ]);
  }
  return `# The outbox

PostgreSQL. *Throughput*: ${count} messages wait in the table, and relays in processes of their own, each with a pool of its
own, hand them to a sink that takes a millisecond; from the first one to the last, which includes that they do not start at once, over ${rounds} rounds: the median
(lowest–highest). *Latency*: another process writes ${PER_SECOND} messages a second, one transaction each; from the row's insert to
the sink's answer, in milliseconds. Relays in other processes than the writer are told by NOTIFY.

${table(['Relays', 'messages/s', 'latency p50', 'latency p99'], rows)}

Every message was sent once; the benchmark fails otherwise.
`;
}

async function withRelays(relays, work) {
  const { options: database, drop } = await createDatabase('postgres');
  const config = (relay) => [JSON.stringify({ database, relay })];
  const writer = await start('app/relay.mjs', config(false));
  const others = [];
  for (let index = 0; index < relays; index += 1) {
    others.push(await start('app/relay.mjs', config(true)));
  }
  try {
    return await work(writer, others);
  } finally {
    await Promise.all([writer, ...others].map((child) => child.stop()));
    await drop();
  }
}

function drain(relays, count) {
  return withRelays(relays, async (writer, others) => {
    await writer.ask('emit', { count });
    await Promise.all(others.map((relay) => relay.ask('start')));
    await allSent(others, count);
    const spans = await Promise.all(others.map((relay) => relay.ask('span')));
    const begun = Math.min(...spans.map(({ first }) => first));
    return count / ((Math.max(...spans.map(({ last }) => last)) - begun) / 1_000);
  });
}

function trickle(relays, count) {
  return withRelays(relays, async (writer, others) => {
    await Promise.all(others.map((relay) => relay.ask('start')));
    await writer.ask('emit', { count, perSecond: PER_SECOND });
    await allSent(others, count);
    return (await Promise.all(others.map((relay) => relay.ask('latencies')))).flat();
  });
}

async function allSent(relays, count) {
  for (;;) {
    const sent = await Promise.all(relays.map((relay) => relay.ask('sent')));
    const sum = sent.reduce((one, other) => one + other, 0);
    if (sum > count) {
      throw new Error(`${sum} of ${count} messages were sent.`);
    }
    if (sum === count) {
      return;
    }
    await sleep(10);
  }
}
