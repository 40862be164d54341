import { onPostgres, walPosition } from '../lib/databases.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { expectOnly, median, ratio, summary } from '../lib/stats.mjs';
import { createShop, expectSales, expectStockTaken } from './shop.mjs';
import { WARM, run, startApp, usedKeys } from './support.mjs';

const GUARDS = {
  plain: { guard: 'none', work: 'sellInTransaction' },
  transactional: { guard: 'typeorm', work: 'sell', idempotent: { mode: 'transactional' } },
  lease: { guard: 'typeorm', work: 'sellInTransaction' },
};
const VARIANTS = ['plain', 'transactional', 'lease', 'replay'];
const BATCHES = 3;
/** Of the throughput of plain, by the number of clients. */
const GOALS = { 1: 0.9, 16: 0.8 };

/** Transactional mode beside the same handler in a transaction of its own. */
export async function transactions(sizes) {
  const { rows, reached } = await withShop((database) => measure(database, sizes));
  const counts = await withShop((database) => count(database, sizes));
  return `# Transactional mode beside a plain transaction

PostgreSQL. The handler takes something from the stock (one UPDATE) and writes down the sale (one INSERT). *Plain*
does so in \`dataSource.transaction()\`, without \`@Idempotent()\`. *Transactional* is \`@Idempotent({ mode: 'transactional' })\`
and a handler that begins no transaction of its own; *lease* is \`@Idempotent()\` and the handler of *plain*. Both get new keys.
*Replay* is the transactional route with keys that are completed. The stock has so many rows that hardly two requests want
the same. Times are in milliseconds, over ${sizes.rounds} interleaved rounds of ${sizes.roundMs / 1000} s; throughput and its ratio to plain are
the median round (lowest–highest). *CPU* is what the application's process spent on a request.

The goal is at least this much of the throughput of plain: ${reached.join(', ')}.

${table(
  ['Clients', 'Request', 'p50', 'p99', 'requests/s', 'throughput against plain', 'CPU'],
  rows,
)}

Per request, one at a time over one connection, in ${BATCHES} batches of ${sizes.keys}: what \`pg_stat_database\` counted, the statements
that TypeORM's query log saw, and the write-ahead log of the whole server meanwhile (so that the lowest batch is the nearest).

${table(
  ['Request', 'commits', 'rollbacks', 'statements', 'WAL bytes, median batch', 'lowest batch'],
  counts,
)}

Every new key had one sale, no replay had any, and what was taken from the stock is what was sold; the benchmark fails
otherwise.
`;
}

async function withShop(work) {
  const database = await createShop();
  try {
    return await work(database.options);
  } finally {
    await database.drop();
  }
}

/** Each variant's application and its keys. Those that are used up are sales already. */
async function startTargets(generator, config, keyCount) {
  const target = {};
  for (const [variant, guard] of Object.entries(GUARDS)) {
    target[variant] = { app: await startApp({ ...guard, ...config }) };
  }
  const { app } = target.transactional;
  target.replay = { app, keys: await usedKeys(generator, app.port, keyCount) };
  return target;
}

async function stopTargets(generator, { plain, transactional, lease }) {
  const apps = [plain, transactional, lease].map(({ app }) => app);
  await Promise.all([...apps, generator].map((child) => child.stop()));
}

async function measure(database, { rounds, roundMs, keys: keyCount }) {
  const generator = await start('load/generator.mjs');
  const target = await startTargets(generator, { database }, keyCount);
  let sales = keyCount;
  const serve = async (variant, job) => {
    const { app, keys } = target[variant];
    const result = await run(generator, app, 'closedLoop', { keys, ...job });
    sales += variant === 'replay' ? 0 : result.latencies.length;
    return result;
  };
  for (const variant of VARIANTS) {
    expectOnly(201, [await serve(variant, { clients: 16, requests: WARM })]);
  }

  const rows = [];
  const reached = [];
  for (const clients of [1, 16]) {
    const results = { plain: [], transactional: [], lease: [], replay: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (let turn = 0; turn < VARIANTS.length; turn += 1) {
        const variant = VARIANTS[(turn + round) % VARIANTS.length];
        results[variant].push(await serve(variant, { clients, ms: roundMs }));
      }
    }
    for (const variant of VARIANTS) {
      expectOnly(201, results[variant]);
      const { p50, p99, perSecond, cpuMs } = summary(results[variant]);
      const against = ratioSpread(ratio(results[variant], results.plain));
      rows.push([clients, variant, ms(p50), ms(p99), wholeSpread(perSecond), against, ms(cpuMs)]);
    }
    const { median: share } = ratio(results.transactional, results.plain);
    const goal = GOALS[clients];
    const verdict = share >= goal ? 'reached' : 'missed';
    reached.push(
      `${goal} with ${clients === 1 ? 'one client' : `${clients} clients`} (**${verdict}**)`,
    );
  }
  await stopTargets(generator, target);
  await expectSales(database.url, sales);
  await expectStockTaken(database.url);
  return { rows, reached };
}

/** What the server and TypeORM count, one request at a time. */
async function count(shop, { keys: requests }) {
  const generator = await start('load/generator.mjs');
  const database = { ...shop, poolSize: 1 };
  const target = await startTargets(generator, { database, countStatements: true }, requests);
  for (const variant of Object.keys(GUARDS)) {
    // what it did to start is not counted with what another does later
    await target[variant].app.ask('flushStatistics');
  }
  const rows = [];
  for (const variant of VARIANTS) {
    const { app, keys } = target[variant];
    const batches = [];
    for (let batch = 0; batch < BATCHES; batch += 1) {
      const before = await counters(app, database.url);
      const job = { port: app.port, clients: 1, requests, keys };
      expectOnly(201, [await generator.ask('closedLoop', job)]);
      const after = await counters(app, database.url);
      batches.push({
        // the second reading is a commit and a statement of its own
        commits: (after.commits - before.commits - 1) / requests,
        rollbacks: (after.rollbacks - before.rollbacks) / requests,
        statements: (after.statements - 1) / requests,
        bytes: (after.bytes - before.bytes) / requests,
      });
    }
    const each = (name) => batches.map((batch) => batch[name]);
    const exact = ['commits', 'rollbacks', 'statements'].map((name) => exactly(each(name)));
    const bytes = each('bytes').map(Math.round);
    rows.push([variant, ...exact, median(bytes), Math.min(...bytes)]);
  }
  await stopTargets(generator, target);
  await expectSales(database.url, requests * (1 + 3 * BATCHES));
  await expectStockTaken(database.url);
  return rows;
}

/** What the application's only connection has done so far; its statements since the last time. */
async function counters(app, url) {
  await app.ask('flushStatistics');
  const name = new URL(url).pathname.slice(1);
  const [{ commits, rollbacks }] = await onPostgres(
    `SELECT xact_commit::int AS commits, xact_rollback::int AS rollbacks FROM pg_stat_database WHERE datname = '${name}'`,
  );
  return {
    commits,
    rollbacks,
    statements: await app.ask('statements'),
    bytes: await walPosition(),
  };
}

/** The same in each batch, or it is not a cost per request. */
function exactly(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? low : `${low}–${high}`;
}
