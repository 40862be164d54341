import { createDatabase, createRedis, redisUrl } from '../lib/databases.mjs';
import { ms, table, whole, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { expectOnly, summary } from '../lib/stats.mjs';
import { run, startApp } from './support.mjs';

const CLIENTS = 16;

/** Beside others, with new keys and with sixteen clients that send the same key at once. */
export async function peers(sizes) {
  const sqlite = await createDatabase('sqlite');
  const postgres = await createDatabase('postgres');
  const redis = await createRedis();
  try {
    const contenders = [
      { name: 'no protection', guard: 'none' },
      { name: 'nestjs-idempotency, memory', guard: 'memory' },
      { name: 'nestjs-idempotency, SQLite', guard: 'typeorm', database: sqlite.options },
      { name: 'nestjs-idempotency, PostgreSQL', guard: 'typeorm', database: postgres.options },
      { name: '@node-idempotency/nestjs, memory', guard: 'node-idempotency-memory' },
      { name: '@node-idempotency/nestjs, Redis', guard: 'node-idempotency-redis', redis: redisUrl },
      { name: 'get-then-set, memory', guard: 'naive-memory' },
      { name: 'get-then-set, Redis', guard: 'naive-redis', redis: redisUrl },
    ];
    return page(await measure(contenders, sizes), sizes);
  } finally {
    await Promise.all([sqlite.drop(), postgres.drop(), redis.drop()]);
  }
}

async function measure(contenders, { rounds, roundMs }) {
  const generator = await start('load/generator.mjs');
  const apps = [];
  for (const { name: _, ...config } of contenders) {
    apps.push(await startApp({ ...config, work: 'pause' }));
  }
  const results = contenders.map(({ name }) => ({ name, fresh: [], duplicates: [], effects: [] }));
  // round 0 warms up
  for (let round = 0; round <= rounds; round += 1) {
    for (let turn = 0; turn < apps.length; turn += 1) {
      const index = (turn + round) % apps.length;
      const app = apps[index];
      const job = { clients: CLIENTS, ms: roundMs };
      const fresh = await run(generator, app, 'closedLoop', job);
      await app.ask('effects');
      const duplicates = await run(generator, app, 'duplicates', job);
      const effects = await app.ask('effects');
      if (round > 0) {
        results[index].fresh.push(fresh);
        results[index].duplicates.push(duplicates);
        results[index].effects.push(effects);
      }
    }
  }
  await Promise.all([...apps, generator].map((child) => child.stop()));
  return results;
}

function page(results, { rounds, roundMs }) {
  const rows = results.map(({ name, fresh, duplicates, effects }) => {
    expectOnly(201, fresh);
    const alone = summary(fresh);
    const together = summary(duplicates);
    const sum = (values) => values.reduce((total, value) => total + value, 0);
    const keys = sum(duplicates.map((round) => round.keys));
    const differing = sum(duplicates.map((round) => round.keysWithDifferingBodies));
    const statuses = Object.entries(together.statuses);
    const failed = sum(statuses.filter(([status]) => status >= 500).map(([, count]) => count));
    const total = sum(effects.map((round) => round.effects));
    const most = Math.max(...effects.map((round) => round.most));
    return [
      name,
      wholeSpread(alone.perSecond),
      ms(alone.p50),
      ms(alone.p99),
      ms(alone.cpuMs),
      wholeSpread(together.perSecond),
      ms(together.p50),
      ms(together.p99),
      whole(keys),
      bad(`${(total / keys).toFixed(2)} (most ${most})`, most > 1),
      bad(`${((100 * differing) / keys).toFixed(1)} %`, differing > 0),
      bad(whole(failed), failed > 0),
    ];
  });
  return `# Beside others

The handler waits 5 ms, as for another service. *New keys*: ${CLIENTS} clients, each request has its own key.
*Duplicates*: ${CLIENTS} clients send the same new key at once; whoever is refused (409) sends it again once all
are answered; then the next key. Both in ${rounds} interleaved rounds of ${roundMs / 1000} s; times in milliseconds over all
rounds, throughput of the median round (lowest–highest). *CPU* is what the application's process spent
on a request. The applications count the effects
themselves. **Bold** is a broken promise: an effect that happened twice, or clients of one key that
were told different things.

These are not equally durable. Memory keeps nothing over a restart, and every instance has its own.
SQLite keeps everything when the process dies (in WAL mode with \`synchronous=NORMAL\` a power failure can cost
the last commits), PostgreSQL also then. What Redis keeps depends on its persistence, see above.

${table(
  [
    'Contender',
    'new keys: requests/s',
    'p50',
    'p99',
    'CPU',
    'duplicates: requests/s',
    'p50',
    'p99',
    'keys',
    'effects per key',
    'keys with differing answers',
    '5xx',
  ],
  rows,
)}
`;
}

const bad = (text, isBad) => (isBad ? `**${text}**` : text);
