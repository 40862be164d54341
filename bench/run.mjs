/**
 * `node bench/run.mjs [part]... [--quick] [--out <folder>]`, with the parts below; without a name all of them. Prints each part's
 * tables and writes them to `bench/results/<part>.md`, with its charts beside them, or to another folder; with `--quick` only to a
 * folder that is named. Every size below is also a flag, for example `--expiredRows 100000`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { stopAll } from './lib/ipc.mjs';
import { machineFacts } from './lib/machine.mjs';
import { batches } from './parts/batches.mjs';
import { cleanup } from './parts/cleanup.mjs';
import { contenders } from './parts/contenders.mjs';
import { cost } from './parts/cost.mjs';
import { floor } from './parts/floor.mjs';
import { heap } from './parts/heap.mjs';
import { messages } from './parts/messages.mjs';
import { microBatches } from './parts/micro-batches.mjs';
import { outbox } from './parts/outbox.mjs';
import { peers } from './parts/peers.mjs';
import { pool } from './parts/pool.mjs';
import { scale } from './parts/scale.mjs';
import { storm } from './parts/storm.mjs';
import { transactions } from './parts/transactions.mjs';
import { waking } from './parts/waking.mjs';

const PARTS = {
  contenders,
  floor,
  batches,
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
  heap,
  scale,
};

const FULL = {
  contenderRounds: 3,
  contenderMs: 500,
  floorRounds: 5,
  floorMs: 500,
  batchRounds: 5,
  batchItems: 1_000,
  heapRequests: 30_000,
  heapReadings: 10,
  rounds: 5,
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
  messageRounds: 3,
  messages: 2_000,
  outboxRounds: 3,
  outboxMessages: 5_000,
  scaleRows: 10_000_000,
  scaleMs: 6_000,
};

/** Shows that everything runs; its figures mean nothing. */
const QUICK = {
  ...FULL,
  contenderRounds: 1,
  contenderMs: 100,
  floorRounds: 1,
  floorMs: 200,
  batchRounds: 1,
  batchItems: 200,
  heapRequests: 2_000,
  heapReadings: 4,
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
  messageRounds: 1,
  messages: 100,
  outboxRounds: 1,
  outboxMessages: 300,
  scaleRows: 100_000,
  scaleMs: 1_000,
};

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    out: { type: 'string' },
    ...Object.fromEntries(Object.keys(FULL).map((name) => [name, { type: 'string' }])),
  },
});
const sizes = { ...(values.quick ? QUICK : FULL) };
for (const name of Object.keys(FULL)) {
  sizes[name] = Number(values[name] ?? sizes[name]);
}
const results = fileURLToPath(new URL('results/', import.meta.url));
const out = values.out ?? (values.quick ? undefined : results);
const unknown = positionals.find((name) => !(name in PARTS));
if (unknown) {
  console.error(`There is no part '${unknown}'. Name any of: ${Object.keys(PARTS).join(', ')}.`);
  process.exit(1);
}

try {
  const facts = await machineFacts();
  for (const name of positionals.length > 0 ? positionals : Object.keys(PARTS)) {
    const startedAt = performance.now();
    const answer = await PARTS[name](sizes);
    const { page: text, files = {} } = typeof answer === 'string' ? { page: answer } : answer;
    const [title, ...rest] = text.split('\n');
    const page = [title, '', `On ${facts}.`, ...rest].join('\n');
    console.log(page);
    console.log(`(${name}: ${Math.round((performance.now() - startedAt) / 1000)} s)\n`);
    if (out !== undefined) {
      await mkdir(out, { recursive: true });
      for (const [file, content] of Object.entries({ ...files, [`${name}.md`]: page })) {
        await writeFile(join(out, file), content);
      }
    }
  }
} finally {
  stopAll();
}
