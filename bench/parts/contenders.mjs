import { randomUUID } from 'node:crypto';
import { missedPoints } from '../checks/points.mjs';
import { createDatabase, createRedis, redisUrl } from '../lib/databases.mjs';
import { hasRedisStore, hasReplayCache } from '../lib/features.mjs';
import { start } from '../lib/ipc.mjs';
import { BARE, BODIES, FLOOR, GROUP, cells } from './contenders-cells.mjs';
import { chart, page } from './contenders-page.mjs';
import { WARM, run, startApp, usedKeys } from './support.mjs';

/** This library beside a bare route and beside others: what they keep, and what it costs. */
export async function contenders(sizes) {
  const redis = await createRedis();
  const databases = [];
  const database = async (type) => {
    databases.push(await createDatabase(type));
    const timeout = type === 'postgres' ? { connectTimeoutMS: 5_000 } : {};
    return { ...databases.at(-1).options, ...timeout };
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
    apps.push(await startApp({ ...config, work: 'asked', points: true }));
  }
  const generator = await start('load/generator.mjs');
  const [app] = apps;
  const missed = answersNewKeysOnly ? undefined : await missedPoints(apps);
  const count = async (job) => {
    await app.ask('roundTrips');
    await generator.ask('closedLoop', { port: app.port, clients: 1, requests: COUNTED, ...job });
    return (await app.ask('roundTrips')) / COUNTED;
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
    await warmUp(generator, one);
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

async function warmUp(generator, { app, answersNewKeysOnly }) {
  await run(generator, app, 'closedLoop', { clients: 16, requests: WARM });
  if (!answersNewKeysOnly) {
    const keys = await usedKeys(generator, app.port, 100);
    await run(generator, app, 'closedLoop', { clients: 16, requests: WARM, keys });
  }
}

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
