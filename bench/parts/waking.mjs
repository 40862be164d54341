import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { ms, table } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { percentile } from '../lib/stats.mjs';
import { createShop, expectSales } from './shop.mjs';
import { startApp } from './support.mjs';

const OWNERS_MS = [50, 1_000];
/** Keys under way at the same time, evenly apart. */
const LANES = 4;

/** How long after the first request has its answer those who wait for it have theirs. */
export async function waking(sizes) {
  const rows = [];
  for (const mode of ['lease', 'transactional']) {
    for (const ownerMs of OWNERS_MS) {
      const database = await createShop();
      try {
        const waits = await measure(database.options, mode, ownerMs, sizes);
        rows.push(
          row(
            mode,
            ownerMs,
            'the same process',
            waits.map(({ same }) => same),
          ),
          row(
            mode,
            ownerMs,
            'another process',
            waits.map(({ other }) => other),
          ),
        );
      } finally {
        await database.drop();
      }
    }
  }
  return page(rows, sizes);
}

async function measure(database, mode, workMs, { wakes }) {
  const generator = await start('load/generator.mjs');
  const idempotent = { mode, onConcurrent: 'wait' };
  const config = { guard: 'typeorm', database, idempotent, work: 'sellSlowly', workMs };
  const owner = await startApp(config);
  const other = await startApp(config);
  const warmUp = LANES;
  const waits = [];
  let left = wakes + warmUp;
  const lane = async (_, index) => {
    await setTimeout((index * workMs) / LANES);
    while (left > 0) {
      left -= 1;
      waits.push(await wake(generator, owner, other));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));

  const { effects } = await owner.ask('effects');
  if (effects !== wakes + warmUp) {
    throw new Error(`${wakes + warmUp} keys had ${effects} effects where they were sent first.`);
  }
  await Promise.all([owner, other, generator].map((child) => child.stop()));
  await expectSales(database.url, wakes + warmUp);
  return waits.slice(warmUp);
}

/** Both wait for the same first request; how long after its answer each has its own. */
async function wake(generator, owner, other) {
  const key = randomUUID();
  const send = ({ port }) => generator.ask('one', { port, key });
  const first = send(owner);
  // or was refused, and then says so below
  await Promise.race([owner.ask('waitForWork', key), first]);
  const answers = await Promise.all([first, send(owner), send(other)]);
  if (answers.some(({ status, body }) => status !== 201 || body !== answers[0].body)) {
    throw new Error(`One key was answered differently: ${JSON.stringify(answers)}`);
  }
  const [firstAt, sameAt, otherAt] = answers.map(({ at }) => at);
  return { same: sameAt - firstAt, other: otherAt - firstAt };
}

function row(mode, ownerMs, where, waits) {
  const cells = [0.5, 0.99, 1].map((share) => ms(percentile(waits, share)));
  return [mode, `${ownerMs} ms`, where, ...cells];
}

function page(rows, { wakes }) {
  return `# How soon those who wait are told

PostgreSQL, \`onConcurrent: 'wait'\`, two processes. The first request with a key runs in one of them; once its handler has
begun, one duplicate is sent to the same process and one to the other. Measured in milliseconds from when the first
request's client has its answer to when the duplicate's client has its own (below zero: it was there earlier). ${wakes} keys each, of which
${LANES} are under way at the same time. Another process finds out by asking, at first after 25 ms at most, then ever less often
until every 250 ms.

${table(['Mode', 'First request takes', 'Duplicate waits in', 'p50', 'p99', 'slowest'], rows)}

Each key had one effect and all three clients the same answer; the benchmark fails otherwise.
`;
}
