import { randomBytes } from 'node:crypto';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { createDatabase } from '../lib/databases.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { expectOnly, ratio, summary } from '../lib/stats.mjs';
import { loop, newClaim, run, startApp } from './support.mjs';

const CLIENTS = [1, 8, 64, 256];
const HTTP_CLIENTS = 64;
const POOL = 10;
const RESULT = randomBytes(500);
const GOAL = 2;

/** Claims and completions that share statements, beside the same ones one by one. */
export async function microBatches(sizes) {
  const postgres = await atStore('postgres', ['raw', 'off', 'on'], sizes);
  const mariadb = await atStore('mariadb', ['off', 'on'], sizes);
  const sqlite = await atStore('sqlite', ['off', 'on'], sizes);
  const http = await overHttp(sizes);
  const { median: gained } = ratio(postgres[64].on, postgres[64].raw);
  const heads = ['p50', 'p99', 'per second', 'against one by one'];
  return `# Statements that are shared

Each of so many callers claims a new key, completes it with ${RESULT.length} bytes, and goes on with the next, on a pool of ${POOL} connections.
*One by one* has sharing switched off; *shared* is the default; *driver* sends the same two statements
with \`pg\` alone. Times are in milliseconds, for both together, over ${sizes.rounds} interleaved rounds of ${sizes.roundMs / 1000} s; figures per second
and their ratios are the median round (lowest–highest).

The goal on PostgreSQL is ${GOAL} times the driver with 64 callers: **${gained >= GOAL ? 'reached' : 'missed'}**, with ${gained.toFixed(2)}.

${table(['Database', 'Callers', 'Way', ...heads], [...storeRows('PostgreSQL', postgres), ...storeRows('MariaDB', mariadb), ...storeRows('SQLite', sqlite)])}

The same over HTTP on PostgreSQL: a route whose handler does nothing, ${HTTP_CLIENTS} clients, a new key each time. *CPU* is what the application's process
spent on a request.

${table(['Way', ...heads, 'CPU'], httpRows(http))}
`;
}

const NAMES = { raw: 'driver', off: 'one by one', on: 'shared' };

function storeRows(database, byClients) {
  return Object.entries(byClients).flatMap(([clients, results]) =>
    Object.entries(results).map(([way, rounds]) => [
      database,
      clients,
      NAMES[way],
      ...figures(rounds, results.off),
    ]),
  );
}

function figures(rounds, base) {
  const { p50, p99, perSecond } = summary(rounds);
  return [ms(p50), ms(p99), wholeSpread(perSecond), ratioSpread(ratio(rounds, base))];
}

function httpRows({ off, on }) {
  return [off, on].map((rounds, index) => [
    [NAMES.off, NAMES.on][index],
    ...figures(rounds, off),
    ms(summary(rounds).cpuMs),
  ]);
}

async function inTurns(ways, rounds, measure) {
  const results = Object.fromEntries(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < ways.length; turn += 1) {
      const way = ways[(turn + round) % ways.length];
      results[way].push(await measure(way));
    }
  }
  return results;
}

async function atStore(type, ways, { rounds, roundMs }) {
  const database = await createDatabase(type);
  const opened = {};
  for (const way of ways) {
    opened[way] = await OPEN[way](database.options);
  }
  const measure = (way, callers, forMs) => loop(opened[way].once, callers, forMs);
  const byClients = {};
  try {
    for (const way of ways) await measure(way, 64, roundMs);
    for (const callers of CLIENTS) {
      byClients[callers] = await inTurns(ways, rounds, (way) => measure(way, callers, roundMs));
    }
  } finally {
    for (const { close } of Object.values(opened)) await close();
    await database.drop();
  }
  return byClients;
}

const OPEN = {
  on: (options) => openStore(options, true),
  off: (options) => openStore(options, false),
  raw: openDriver,
};

async function openStore(options, microBatch, log = {}) {
  const pool = options.type === 'better-sqlite3' ? {} : { poolSize: POOL };
  const dataSource = await new DataSource({ ...options, ...pool, ...log }).initialize();
  const store = new TypeOrmStore(dataSource, { microBatch });
  await store.init();
  const once = async () => {
    const claim = newClaim();
    const { type } = await store.claim(claim);
    const { applied } = await store.complete({ ...claim, result: RESULT });
    if (type !== 'claimed' || !applied) {
      throw new Error('A new key was not claimed, or not completed.');
    }
  };
  return { once, close: () => dataSource.destroy() };
}

/** Sends what the store sends, as it was logged for one key, with others in its place. */
async function openDriver(options) {
  const sent = [];
  const logger = { logQuery: (sql, parameters) => sent.push({ sql, parameters }) };
  const { once, close } = await openStore(options, false, { logging: true, logger });
  sent.length = 0;
  await once();
  await close();
  const [claim, complete] = sent;
  const [id, owner] = claim.parameters;
  const pool = new pg.Pool({ connectionString: options.url, max: POOL });
  const send = ({ sql, parameters }, fresh) =>
    pool.query(
      sql,
      parameters.map((value) => (value === id ? fresh.id : value === owner ? fresh.owner : value)),
    );
  return {
    async once() {
      const fresh = newClaim();
      const claimed = await send(claim, fresh);
      const completed = await send(complete, fresh);
      if (claimed.rows[0]?.inserted !== true || completed.rowCount !== 1) {
        throw new Error('A new key was not claimed, or not completed.');
      }
    },
    close: () => pool.end(),
  };
}

async function overHttp({ rounds, roundMs }) {
  const { options, drop } = await createDatabase('postgres');
  const generator = await start('load/generator.mjs');
  const apps = {};
  try {
    for (const way of ['off', 'on']) {
      const config = {
        guard: 'typeorm',
        work: 'none',
        database: options,
        microBatch: way === 'on',
      };
      apps[way] = await startApp(config);
    }
    const serve = (way, ms) =>
      run(generator, apps[way], 'closedLoop', { clients: HTTP_CLIENTS, ms });
    for (const way of ['off', 'on']) await serve(way, 2 * roundMs);
    const results = await inTurns(['off', 'on'], rounds, (way) => serve(way, roundMs));
    expectOnly(201, Object.values(results).flat());
    return results;
  } finally {
    await Promise.all([...Object.values(apps), generator].map((child) => child.stop()));
    await drop();
  }
}
