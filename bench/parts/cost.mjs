import { createDatabase, walPosition } from '../lib/databases.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { expectOnly, median, ratio, summary } from '../lib/stats.mjs';
import { run, startApp, usedKeys } from './support.mjs';

const VARIANTS = ['bare', 'fresh key', 'replay'];

/** What a request costs beside the same route without the decorator. */
export async function cost(sizes) {
  const rows = [];
  for (const type of ['sqlite', 'postgres']) {
    const database = await createDatabase(type);
    try {
      rows.push(...(await measure(type, database.options, sizes)));
    } finally {
      await database.drop();
    }
  }
  return `# Cost per request

The handler inserts one order, in one commit. *Bare* is the same route without \`@Idempotent()\`, in
an application of its own. A replay does not run the handler. Times are in milliseconds, over
${sizes.rounds} interleaved rounds of ${sizes.roundMs / 1000} s; throughput and its ratio to bare are the median
round, with the lowest and the highest in parentheses. *CPU* is what the application's process
spent on a request, in the median round.

${table(
  ['Database', 'Clients', 'Request', 'p50', 'p99', 'requests/s', 'throughput against bare', 'CPU'],
  rows,
)}

${await statements(sizes)}
`;
}

async function measure(type, database, { rounds, roundMs, keys: keyCount }) {
  const name = type === 'sqlite' ? 'SQLite (file, WAL)' : 'PostgreSQL';
  const generator = await start('load/generator.mjs');
  const bare = await startApp({ guard: 'none', database, work: 'insert' });
  const ours = await startApp({ guard: 'typeorm', database, work: 'insert' });
  const used = await usedKeys(generator, ours.port, keyCount);
  const target = {
    bare: { app: bare },
    'fresh key': { app: ours },
    replay: { app: ours, keys: used },
  };
  for (const variant of VARIANTS) {
    const { app, keys } = target[variant];
    await run(generator, app, 'closedLoop', { keys, clients: 16, ms: 2 * roundMs });
  }

  const rows = [];
  for (const clients of [1, 16]) {
    const results = { bare: [], 'fresh key': [], replay: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (let turn = 0; turn < VARIANTS.length; turn += 1) {
        const variant = VARIANTS[(turn + round) % VARIANTS.length];
        const { app, keys } = target[variant];
        const job = { keys, clients, ms: roundMs };
        results[variant].push(await run(generator, app, 'closedLoop', job));
      }
    }
    for (const variant of VARIANTS) {
      expectOnly(201, results[variant]);
      const { p50, p99, perSecond, cpuMs } = summary(results[variant]);
      const against = ratioSpread(ratio(results[variant], results.bare));
      const cells = [ms(p50), ms(p99), wholeSpread(perSecond), against, ms(cpuMs)];
      rows.push([name, clients, variant, ...cells]);
    }
  }
  await Promise.all([bare.stop(), ours.stop(), generator.stop()]);
  return rows;
}

/** Counted by TypeORM's logger and by the server's log position, one request at a time. */
async function statements({ keys }) {
  const database = await createDatabase('postgres');
  try {
    const config = { guard: 'typeorm', database: database.options, countStatements: true };
    const generator = await start('load/generator.mjs');
    const app = await startApp({ ...config, work: 'none' });
    const used = await usedKeys(generator, app.port, keys);
    const count = async (job) => {
      await app.ask('statements');
      const before = await walPosition();
      await generator.ask('closedLoop', { port: app.port, clients: 1, requests: keys, ...job });
      const bytes = (await walPosition()) - before;
      return { statements: (await app.ask('statements')) / keys, bytes: bytes / keys };
    };
    const rows = [];
    for (const [variant, job] of [
      ['fresh key', {}],
      ['replay', { keys: used }],
    ]) {
      const batches = [];
      for (let batch = 0; batch < 5; batch += 1) {
        batches.push(await count(job));
      }
      const bytes = batches.map((batch) => batch.bytes);
      const perRequest = median(batches.map((batch) => batch.statements));
      rows.push([variant, perRequest, Math.round(median(bytes)), Math.round(Math.min(...bytes))]);
    }
    await Promise.all([app.stop(), generator.stop()]);
    return `The library's own statements on PostgreSQL (the handler has none here), from TypeORM's query log, and
the write-ahead log that the server wrote meanwhile, per request, in 5 batches of ${keys} requests. The log
belongs to the whole server: whatever else it does is counted as well, so the lowest batch is the
nearest.

${table(['Request', 'statements', 'WAL bytes, median batch', 'lowest batch'], rows)}`;
  } finally {
    await database.drop();
  }
}
