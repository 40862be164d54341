import { createDatabase, createRedis, redisUrl } from '../lib/databases.mjs';
import { hasRedisStore } from '../lib/features.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { ratio, summary } from '../lib/stats.mjs';
import { verdict } from './goals.mjs';

const CLIENTS = [1, 16, 64];
const GOAL = 2;

/** Without HTTP: the library beside the driver alone, and beside another library's function. */
export async function floor(sizes) {
  const groups = [];
  for (const [type, title] of Object.entries({
    postgres: 'PostgreSQL',
    mariadb: 'MariaDB',
    sqlite: 'SQLite',
  })) {
    const { options, drop } = await createDatabase(type);
    try {
      const ways = ['floor', 'store', 'execute'].map((way) => ({ way, database: options }));
      groups.push({ title, ...(await measure(ways, sizes)) });
    } finally {
      await drop();
    }
  }
  const redis = await createRedis();
  try {
    const own = (await hasRedisStore()) ? ['store', 'execute'] : [];
    const ways = ['floor', ...own, 'powertools'].map((way) => ({ way, redis: redisUrl }));
    groups.push({ title: 'Redis', ...(await measure(ways, sizes)) });
  } finally {
    await redis.drop();
  }
  return page(groups, sizes);
}

async function measure(ways, { floorRounds: rounds, floorMs: roundMs }) {
  const engines = [];
  for (const way of ways) {
    const engine = await start('app/engine.mjs', [JSON.stringify(way)]);
    await engine.ask('closedLoop', { clients: 16, ms: roundMs });
    engines.push(Object.assign(engine, { way: way.way, roundTrips: await countedFor(engine) }));
  }
  const results = [];
  for (const clients of CLIENTS) {
    const own = Object.fromEntries(engines.map(({ way }) => [way, []]));
    for (let round = 0; round < rounds; round += 1) {
      for (let turn = 0; turn < engines.length; turn += 1) {
        const engine = engines[(turn + round) % engines.length];
        own[engine.way].push(await engine.ask('closedLoop', { clients, ms: roundMs }));
      }
    }
    results.push({ clients, own });
  }
  const roundTrips = Object.fromEntries(engines.map(({ way, roundTrips }) => [way, roundTrips]));
  await Promise.all(engines.map((engine) => engine.stop()));
  return { results, roundTrips };
}

const COUNTED = 50;

async function countedFor(engine) {
  await engine.ask('roundTrips');
  await engine.ask('closedLoop', { clients: 1, count: COUNTED });
  return (await engine.ask('roundTrips')) / COUNTED;
}

const NAMES = {
  floor: 'two plain statements of the driver',
  store: "the store's claim() and complete()",
  execute: 'IdempotencyService.execute()',
  powertools: 'Powertools makeIdempotent()',
};

function page(groups, { floorRounds: rounds, floorMs: roundMs }) {
  const rows = groups.flatMap(({ title, results, roundTrips }) =>
    results.flatMap(({ clients, own }) =>
      Object.entries(own).map(([way, measured]) => {
        const { p50, p99, perSecond, cpuMs } = summary(measured);
        const against = ratioSpread(ratio(measured, own.floor));
        const times = [ms(p50), ms(p99), wholeSpread(perSecond), against, ms(cpuMs)];
        return [title, clients, NAMES[way], roundTrips[way], ...times];
      }),
    ),
  );
  const { own } = groups[0].results.at(-1);
  const share = (way) => verdict(ratio(own[way], own.floor), GOAL);
  return `# The floor

New keys, without HTTP, each way in a process of its own. *Two plain statements* is a script with the driver and its pool (10
connections; one on SQLite and Redis): a row is inserted and then updated, each statement sent by itself, and nothing is checked; on
Redis it is two SETs. The kept result has 0.4 KB. *Clients* are loops that begin the next operation when they have done one. Over
${rounds} interleaved rounds of ${roundMs / 1000} s; times in milliseconds; throughput and its ratio to the floor are the median round
(lowest–highest). *CPU* is what the process spent on an operation. *Round trips* are counted at its sockets, one operation at a time.

The goal on PostgreSQL with 64 clients is ${GOAL} times the floor: the store ${share('store')}, the engine ${share('execute')}.

${table(
  [
    'Store',
    'clients',
    'What',
    'round trips',
    'p50',
    'p99',
    'operations/s',
    'against the floor',
    'CPU',
  ],
  rows,
)}
`;
}
