import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { postgresUrl } from '../lib/databases.mjs';
import { ms, table, whole } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { addStatuses, expectOnly, median, percentile } from '../lib/stats.mjs';
import { createShop, expectSales } from './shop.mjs';
import { startApp } from './support.mjs';

const POOL = 5;
const SAMPLE_MS = 50;
/** What happens while the other routes are called. */
const PHASES = ['nothing else', 'first requests only', 'and duplicates'];

const CASES = [
  { name: 'no decorator', slowKeys: POOL, idempotent: false },
  ...slowCases('lease', POOL),
  // an open transaction has a connection: one is left for the others, or none
  ...slowCases('transactional', POOL - 1),
  ...slowCases('transactional', POOL),
];

function slowCases(mode, slowKeys) {
  return ['reject', 'wait'].map((onConcurrent) => ({
    name: `${mode}, ${onConcurrent}, ${slowKeys} keys`,
    slowKeys,
    idempotent: { mode, onConcurrent },
  }));
}

/** What other routes notice of many duplicates of slow operations, when there are few connections. */
export async function pool(sizes) {
  const latencies = [];
  const outcomes = [];
  for (const variant of CASES) {
    const database = await createShop();
    try {
      const phases = await measure(variant, database.options, sizes);
      latencies.push(...latencyRows(variant, phases));
      outcomes.push(outcomeRow(variant, phases));
    } finally {
      await database.drop();
    }
  }
  return page(latencies, outcomes, sizes);
}

async function measure({ slowKeys, idempotent }, database, sizes) {
  const { poolRounds, slowMs, crowd, arriveMs, othersPerSecond: rate } = sizes;
  const generator = await start('load/generator.mjs');
  const bystander = await start('load/generator.mjs');
  const app = await startApp({
    guard: 'typeorm',
    idempotent,
    // without the decorator everybody reads a row and waits: what so many requests cost in any case
    work: idempotent === false ? 'readSlowly' : 'sellSlowly',
    workMs: slowMs,
    database: { ...database, poolSize: POOL },
    bystanders: true,
  });
  const { port } = app;
  let sales = 0;

  const send = async (clients, arriveMs) => {
    const keys = Array.from({ length: slowKeys }, () => randomUUID());
    const result = await generator.ask('crowd', { port, clients, keys, arriveMs });
    if (idempotent !== false) {
      sales += slowKeys;
      expectOneAnswerEach(result, clients);
    }
    return result;
  };
  const work = {
    [PHASES[0]]: () => setTimeout(slowMs),
    [PHASES[1]]: () => send(slowKeys, 0),
    [PHASES[2]]: () => send(crowd, arriveMs),
  };
  const besideOthers = async (phase) => {
    const loads = [
      bystander.ask('paced', { port, rate, reads: '/stock' }),
      bystander.ask('paced', { port, rate, path: '/sales' }),
    ];
    const { result, busy } = await whileSampling(database.url, work[phase]);
    await bystander.ask('stopPaced');
    const [reads, short] = await Promise.all(loads);
    expectOnly(200, [reads]);
    expectOnly(201, [short]);
    sales += short.latencies.length;
    return { reads, short, busy, slow: result };
  };

  const phases = Object.fromEntries(PHASES.map((phase) => [phase, []]));
  await besideOthers(PHASES[2]); // warms up
  for (let round = 0; round < poolRounds; round += 1) {
    for (const phase of PHASES) {
      phases[phase].push(await besideOthers(phase));
    }
  }
  await Promise.all([app, generator, bystander].map((child) => child.stop()));
  await expectSales(database.url, sales);
  return phases;
}

function expectOneAnswerEach({ statuses, keysWithDifferingBodies }, clients) {
  const { 201: done, 409: _, ...others } = statuses;
  if (done !== clients || keysWithDifferingBodies > 0 || Object.keys(others).length > 0) {
    throw new Error(
      `${clients} clients got ${JSON.stringify(statuses)}, and ` +
        `${keysWithDifferingBodies} keys had more than one answer.`,
    );
  }
}

/** Meanwhile looks, from outside, how many connections of the database are at work or in a transaction. */
async function whileSampling(url, work) {
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  const name = new URL(url).pathname.slice(1);
  const busy = [];
  let isOver = false;
  const sampling = (async () => {
    while (!isOver) {
      const { rows } = await client.query(
        `SELECT count(*)::int AS busy FROM pg_stat_activity WHERE datname = '${name}' AND state <> 'idle'`,
      );
      busy.push(rows[0].busy);
      await setTimeout(SAMPLE_MS);
    }
  })();
  try {
    return { result: await work(), busy };
  } finally {
    isOver = true;
    await sampling;
    await client.end();
  }
}

function latencyRows({ name }, phases) {
  const p = (rounds, load, share) =>
    percentile(
      rounds.flatMap((round) => round[load].latencies),
      share,
    );
  return PHASES.map((phase) => {
    const cells = ['reads', 'short'].flatMap((load) => {
      const p99 = p(phases[phase], load, 0.99);
      const against = p99 / p(phases[PHASES[1]], load, 0.99);
      return [ms(p(phases[phase], load, 0.5)), ms(p99), against.toFixed(2)];
    });
    return [name, phase, ...cells];
  });
}

function outcomeRow({ name }, phases) {
  const busy = PHASES.map((phase) => {
    const samples = phases[phase].flatMap((round) => round.busy);
    return `${median(samples)} (${Math.max(...samples)})`;
  });
  const slow = phases[PHASES[2]].map((round) => round.slow);
  const { 201: done, 409: refused = 0 } = addStatuses(slow);
  const slowest = Math.max(...slow.flatMap(({ latencies }) => latencies));
  return [name, ...busy, whole(done), whole(refused), ms(slowest)];
}

function page(latencies, outcomes, { poolRounds, slowMs, crowd, arriveMs, othersPerSecond }) {
  return `# A small pool under duplicates of slow operations

PostgreSQL, a pool of ${POOL} connections. ${crowd} clients, who arrive within ${arriveMs / 1000} s, send the same few keys to a route whose
handler writes one row and then waits ${slowMs / 1000} s; whoever is refused (409) comes back when \`Retry-After\` says, until it has the answer. Meanwhile two
other routes of the same process are called, each ${othersPerSecond} times a second, on schedule whether or not the answers keep up, and
measured in milliseconds from when they were due: one reads a row, one is transactional and short (two statements, new keys).
Each of ${poolRounds} rounds measures *nothing else*; *first requests only*, one for each slow key; and *duplicates* with
them, with new keys. The ratios are p99 against first requests only: what the duplicates add.

*No decorator* is the same number of requests to a route that reads a row and waits without a connection: what so many cost
with nothing but a look into the database. A transactional operation holds its connection while it runs, with duplicates or without; with ${POOL}
of them none is left, and everybody else waits until one ends.

${table(
  [
    'Slow route',
    'Meanwhile',
    'read: p50',
    'p99',
    'against first only',
    'short transaction: p50',
    'p99',
    'against first only',
  ],
  latencies,
)}

Connections that were busy, sampled every ${SAMPLE_MS} ms: median (most). Of the answers to the slow route, those in all rounds
together; the slowest in milliseconds.

${table(
  ['Slow route', ...PHASES.map((phase) => `busy: ${phase}`), '201', '409', 'slowest answer'],
  outcomes,
)}

Each slow key had one effect, and all its clients had the same answer; the benchmark fails otherwise.
`;
}
