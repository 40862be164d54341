/**
 * `node bench/run.mjs [cost] [peers] [storm] [cleanup] [transactions] [pool] [waking] [messages] [outbox] [micro-batches] [--quick]`; without a
 * name all of them. Prints each part's tables and, unless `--quick`, writes them to `bench/results/<part>.md`. Every size below is
 * also a flag, for example `--expiredRows 100000`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { stopAll } from './lib/ipc.mjs';
import { machineFacts } from './lib/machine.mjs';
import { cleanup } from './parts/cleanup.mjs';
import { cost } from './parts/cost.mjs';
import { messages } from './parts/messages.mjs';
import { microBatches } from './parts/micro-batches.mjs';
import { outbox } from './parts/outbox.mjs';
import { peers } from './parts/peers.mjs';
import { pool } from './parts/pool.mjs';
import { storm } from './parts/storm.mjs';
import { transactions } from './parts/transactions.mjs';
import { waking } from './parts/waking.mjs';

const PARTS = {
  cost,
  peers,
  storm,
  cleanup,
  transactions,
  pool,
  waking,
  messages,
  outbox,
  'micro-batches': microBatches,
};

const FULL = {
  rounds: 7,
  roundMs: 1_000,
  keys: 500,
  stormRequests: 3_000,
  expiredRows: 1_000_000,
  quietMs: 20_000,
  poolRounds: 5,
  slowMs: 2_000,
  crowd: 200,
  arriveMs: 1_000,
  othersPerSecond: 50,
  wakes: 200,
  messages: 3_000,
  outboxMessages: 5_000,
};

/** Shows that everything runs; its figures mean nothing. */
const QUICK = {
  ...FULL,
  rounds: 2,
  roundMs: 300,
  keys: 100,
  stormRequests: 300,
  expiredRows: 20_000,
  quietMs: 1_000,
  poolRounds: 1,
  slowMs: 1_000,
  arriveMs: 500,
  wakes: 12,
  messages: 200,
  outboxMessages: 500,
};

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    ...Object.fromEntries(Object.keys(FULL).map((name) => [name, { type: 'string' }])),
  },
});
const sizes = { ...(values.quick ? QUICK : FULL) };
for (const name of Object.keys(FULL)) {
  sizes[name] = Number(values[name] ?? sizes[name]);
}
const unknown = positionals.find((name) => !(name in PARTS));
if (unknown) {
  console.error(`There is no part '${unknown}'. Name any of: ${Object.keys(PARTS).join(', ')}.`);
  process.exit(1);
}

try {
  const facts = await machineFacts();
  for (const name of positionals.length > 0 ? positionals : Object.keys(PARTS)) {
    const startedAt = performance.now();
    const [title, ...rest] = (await PARTS[name](sizes)).split('\n');
    const page = [title, '', `On ${facts}.`, ...rest].join('\n');
    console.log(page);
    console.log(`(${name}: ${Math.round((performance.now() - startedAt) / 1000)} s)\n`);
    if (!values.quick) {
      const results = new URL('results/', import.meta.url);
      await mkdir(results, { recursive: true });
      await writeFile(new URL(`${name}.md`, results), page);
    }
  }
} finally {
  stopAll();
}
