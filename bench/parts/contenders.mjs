import { randomUUID } from 'node:crypto';
import { POINTS, missedPoints } from '../checks/points.mjs';
import { barChart } from '../lib/chart.mjs';
import { createDatabase, createRedis, redisUrl } from '../lib/databases.mjs';
import { hasRedisStore, hasReplayCache } from '../lib/features.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { ratio, summary } from '../lib/stats.mjs';
import { goals } from './goals.mjs';
import { run, startApp, usedKeys } from './support.mjs';

const BARE = 'bare route';
const FLOOR = 'two plain statements, pg';
const CLIENTS = [1, 16, 64];
const BODIES = [1_000, 100_000];
const GROUP = 16;

/** What is sent, and by how many clients at least. */
const WORKLOADS = {
  'new keys': { job: 'closedLoop', only: 201 },
  replays: { job: 'closedLoop', only: 201, keys: 'used' },
  mixed: { job: 'mixed' },
  '16-way duplicates': { job: 'duplicates', atLeast: GROUP, waitMs: 5 },
  'one hot key': { job: 'closedLoop', atLeast: GROUP, keys: 'one' },
};

/** This library beside a bare route and beside others: what they keep, and what it costs. */
export async function contenders(sizes) {
  const redis = await createRedis();
  const databases = [];
  const database = async (type) => {
    databases.push(await createDatabase(type));
    return { ...databases.at(-1).options, ...(type !== 'sqlite' && { connectTimeoutMS: 5_000 }) };
  };
  try {
    const all = await list(database);
    const built = all.filter(({ isBuilt = true }) => isBuilt);
    for (const one of built) {
      Object.assign(one, await examine(one));
    }
    const results = await measure(built, sizes);
    return {
      page: page(all, built, results, sizes),
      files: { 'contenders.svg': chart(built, results) },
    };
  } finally {
    await Promise.all([...databases, redis].map(({ drop }) => drop()));
  }
}

/** Their names and `app/main.mjs`'s configuration of each. */
async function list(database) {
  const typeorm = async (type, more) => ({
    guard: 'typeorm',
    database: await database(type),
    ...more,
  });
  const ours = [
    { name: 'SQLite', config: await typeorm('sqlite') },
    { name: 'PostgreSQL', config: await typeorm('postgres') },
    {
      name: 'PostgreSQL, transactional',
      config: await typeorm('postgres', { idempotent: { mode: 'transactional' } }),
    },
    {
      name: 'PostgreSQL, replayCache',
      config: await typeorm('postgres', { module: { replayCache: true } }),
      isBuilt: await hasReplayCache(),
    },
    { name: 'MariaDB', config: await typeorm('mariadb') },
    { name: 'Redis', config: { guard: 'redis', redis: redisUrl }, isBuilt: await hasRedisStore() },
  ];
  const floor = { guard: 'two-statements', database: await database('postgres') };
  const others = Object.entries({
    '@node-idempotency/nestjs, memory': 'node-idempotency-memory',
    '@node-idempotency/nestjs, Redis': 'node-idempotency-redis',
    'express-idempotency, memory': 'express-idempotency',
    'Powertools makeIdempotent(), Redis': 'powertools-redis',
    'naive interceptor, Redis': 'naive-redis',
  }).map(([name, guard]) => ({ name, config: { guard, redis: redisUrl }, kind: 'other' }));
  return [
    { name: BARE, kind: 'base', config: { guard: 'none' } },
    { name: FLOOR, kind: 'base', config: floor, answersNewKeysOnly: true },
    ...ours.map((one) => ({ ...one, kind: 'ours' })),
    ...others,
  ];
}

const COUNTED = 50;

/** One at a time: what it keeps of the points, and what it asks its store. */
async function examine({ config, answersNewKeysOnly }) {
  const apps = [];
  for (let process = 0; process < 2; process += 1) {
    apps.push(await startApp({ ...config, work: 'asked', points: true, countStatements: true }));
  }
  const generator = await start('load/generator.mjs');
  const [app] = apps;
  const missed = answersNewKeysOnly ? undefined : await missedPoints(apps);
  const count = async (job) => {
    await app.ask('roundTrips');
    await app.ask('statements');
    await generator.ask('closedLoop', { port: app.port, clients: 1, requests: COUNTED, ...job });
    const roundTrips = (await app.ask('roundTrips')) / COUNTED;
    return { roundTrips, statements: (await app.ask('statements')) / COUNTED };
  };
  await count();
  const fresh = await count();
  const keys = Array.from({ length: COUNTED }, () => randomUUID());
  await count({ keys });
  const replay = answersNewKeysOnly ? undefined : await count({ keys });
  await Promise.all([...apps, generator].map((child) => child.stop()));
  return { missed, fresh, replay, inProcess: config.database?.type === 'better-sqlite3' };
}

/** `results[cell][name]` are the rounds of a contender. */
async function measure(built, { contenderRounds: rounds, contenderMs: roundMs, keys: keyCount }) {
  const generator = await start('load/generator.mjs');
  const used = new Map();
  const effects = {};
  for (const one of built) {
    one.app = await startApp({ ...one.config, work: 'asked' });
    effects[one.name] = { keys: 0, effects: 0, most: 0 };
    await run(generator, one.app, 'closedLoop', { clients: 16, ms: 2 * roundMs });
  }
  const results = {};
  for (const bytes of BODIES) {
    for (const { name, app } of built) {
      used.set(name, await usedKeys(generator, app.port, Math.min(keyCount, 100), { bytes }));
    }
    for (const cell of cells(bytes)) {
      results[cell.name] = Object.fromEntries(built.map(({ name }) => [name, []]));
    }
    for (let round = 0; round < rounds; round += 1) {
      for (const cell of cells(bytes)) {
        for (let turn = 0; turn < built.length; turn += 1) {
          const one = built[(turn + round) % built.length];
          if (one.answersNewKeysOnly && cell.workload !== 'new keys') {
            continue;
          }
          await one.app.ask('effects');
          const keys = { used: used.get(one.name), one: [randomUUID()] }[cell.keys];
          const job = { clients: cell.clients, ms: roundMs, order: cell.order, keys };
          const result = await run(generator, one.app, cell.job, { ...job, groupOf: GROUP });
          check(one, cell, result, await one.app.ask('effects'), effects[one.name]);
          results[cell.name][one.name].push(result);
        }
      }
    }
  }
  for (const one of built) {
    one.effects = effects[one.name];
  }
  await Promise.all([...built.map(({ app }) => app), generator].map((child) => child.stop()));
  return results;
}

function cells(bytes) {
  return Object.entries(WORKLOADS).flatMap(([workload, { atLeast = 1, waitMs, ...rest }]) =>
    CLIENTS.filter((clients) => clients >= atLeast).map((clients) => ({
      ...rest,
      workload,
      clients,
      bytes,
      order: { bytes, waitMs },
      name: cellName(workload, bytes, clients),
    })),
  );
}

const cellName = (workload, bytes, clients) => `${workload}, ${bytes / 1000} KB, ${clients}`;

/** A figure of requests that were answered otherwise, or of keys that had two effects, means nothing. */
function check({ name, kind }, { name: cell, only, job }, result, round, sum) {
  const others = Object.keys(result.statuses).filter((status) => only && Number(status) !== only);
  if (others.length > 0) {
    throw new Error(
      `${name}, ${cell}: expected only ${only}, got ${JSON.stringify(result.statuses)}.`,
    );
  }
  if (job === 'duplicates') {
    sum.keys += round.keys;
    sum.effects += round.effects;
    sum.most = Math.max(sum.most, round.most);
  }
  const failed = Object.keys(result.statuses).filter((status) => status >= 500);
  if (kind === 'ours' && (round.most > 1 || failed.length > 0)) {
    throw new Error(
      `${name}, ${cell}: a key had ${round.most} effects; ${JSON.stringify(result.statuses)}.`,
    );
  }
}

function chart(built, results) {
  const panels = ['new keys', 'replays', 'mixed'].map((workload) => {
    const cell = results[cellName(workload, 1_000, 16)];
    const shown = built.filter(({ name }) => cell[name].length > 0);
    return {
      title: `${workload} (1 KB, 16 clients), bare route = 1`,
      line: 1,
      bars: shown.map(({ name, kind }) => ({ name, kind, ...ratio(cell[name], cell[BARE]) })),
    };
  });
  return barChart('Throughput against a bare route', panels);
}

function page(all, built, results, { contenderRounds: rounds, contenderMs: roundMs }) {
  return `# Contenders

![Throughput against a bare route](contenders.svg)

The same NestJS application on Express for each, in a process of its own; only what protects its one route differs. Names
without a package are this library and its store; the others run with their defaults. *Two plain statements* is the floor
for PostgreSQL: an INSERT and an UPDATE by the driver, with nothing checked. The handler does nothing but count its effect,
so that what is measured is the protection; with duplicates it takes 5 ms. Bodies are 1 KB or 100 KB, and come back in
the answer.

These are not equally durable. Memory keeps nothing over a restart and every process has its own. What Redis keeps depends on
its persistence, see above.

${summaryTable(all, built, results)}

*Points* are the ${POINTS.length} checks of [\`checks/points.mjs\`](../checks/points.mjs), over HTTP against two processes. *Effects
per key*: of ${GROUP} clients that send the same new key at once, and again when they were refused; **bold** is a broken promise.
*Round trips* are counted at the sockets of the application's process, one request at a time: an answer from the store that
begins after something was sent to it. SQLite has none: its statements are TypeORM's query log. Throughput is against the bare route
in the same round (1 KB, 16 clients), the median of ${rounds} rounds of ${roundMs / 1000} s (lowest–highest).

## Goals

${goals(built, results, cellName)}

## Points that are missed

${missedList(built)}

${BODIES.map((bytes) => sections(built, results, bytes)).join('\n\n')}
`;
}

function summaryTable(all, built, results) {
  const rows = all.map((one) => {
    if (!built.includes(one)) {
      return [one.name, 'not built', ...Array(6).fill('')];
    }
    const { name, missed, effects } = one;
    const against = ['new keys', 'replays', 'mixed'].map((workload) => {
      const cell = results[cellName(workload, 1_000, 16)];
      return cell[name].length === 0 ? '' : ratioSpread(ratio(cell[name], cell[BARE]));
    });
    const perKey = effects.keys === 0 ? '' : (effects.effects / effects.keys).toFixed(2);
    return [
      name,
      missed ? `${POINTS.length - missed.length} of ${POINTS.length}` : '',
      effects.most > 1 ? `**${perKey}**` : perKey,
      asked(one, one.fresh),
      one.replay ? asked(one, one.replay) : '',
      ...against,
    ];
  });
  const headings = ['points', 'effects per key', 'round trips, new', 'replay'];
  return table(['Contender', ...headings, 'new keys', 'replays', 'mixed'], rows);
}

const asked = ({ inProcess }, { roundTrips, statements }) =>
  inProcess ? `${statements} statements` : String(roundTrips);

function missedList(built) {
  return built
    .filter(({ missed, kind }) => missed && kind !== 'base')
    .map(({ name, missed }) => `- ${name}: ${missed.length === 0 ? 'none' : missed.join('; ')}`)
    .join('\n');
}

function sections(built, results, bytes) {
  return Object.keys(WORKLOADS)
    .map((workload) => {
      const own = cells(bytes).filter((cell) => cell.workload === workload);
      const rows = own.flatMap((cell) => cellRows(built, cell, results[cell.name]));
      const heading = `## ${workload[0].toUpperCase()}${workload.slice(1)}, ${bytes / 1000} KB`;
      const columns = ['p50', 'p99', 'requests/s', 'against bare', 'CPU'];
      return `${heading}\n\n${table(['Contender', 'clients', ...columns], rows)}`;
    })
    .join('\n\n');
}

function cellRows(built, { clients }, cell) {
  return built
    .filter(({ name }) => cell[name].length > 0)
    .map(({ name }) => {
      const { p50, p99, perSecond, cpuMs } = summary(cell[name]);
      const against = ratioSpread(ratio(cell[name], cell[BARE]));
      return [name, clients, ms(p50), ms(p99), wholeSpread(perSecond), against, ms(cpuMs)];
    });
}
