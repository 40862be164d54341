import { randomUUID } from 'node:crypto';
import { createDatabase } from '../lib/databases.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { expectOnly, ratio, summary } from '../lib/stats.mjs';
import { startApp } from './support.mjs';

/** Everybody sends one key, while its first request runs and after, beside as many new keys. */
export async function storm(sizes) {
  const database = await createDatabase('postgres');
  try {
    return page(await measure(database.options, sizes), sizes);
  } finally {
    await database.drop();
  }
}

async function measure(database, { rounds, stormRequests }) {
  const generator = await start('load/generator.mjs');
  const bystander = await start('load/generator.mjs');
  const app = await startApp({ guard: 'typeorm', database, work: 'none' });
  const job = { port: app.port, clients: 16, requests: stormRequests };
  await generator.ask('closedLoop', job);
  await app.ask('effects');

  const results = { fresh: [], inFlight: [], completed: [] };
  for (let round = 0; round < rounds; round += 1) {
    results.fresh.push(await generator.ask('closedLoop', job));
    await app.ask('effects');

    const key = randomUUID();
    await app.ask('closeGate');
    const first = bystander.ask('one', { port: app.port, key });
    await app.ask('waitForWork', key);
    results.inFlight.push(await generator.ask('closedLoop', { ...job, keys: [key] }));
    await app.ask('openGate');
    const { status } = await first;
    results.completed.push(await generator.ask('closedLoop', { ...job, keys: [key] }));
    const { effects } = await app.ask('effects');
    if (status !== 201 || effects !== 1) {
      throw new Error(`The hot key was answered ${status} and had ${effects} effects.`);
    }
  }
  await Promise.all([app.stop(), generator.stop(), bystander.stop()]);
  return results;
}

function page({ fresh, inFlight, completed }, { rounds, stormRequests }) {
  expectOnly(201, fresh);
  expectOnly(409, inFlight);
  expectOnly(201, completed);
  const rows = [
    ['new keys', '201', fresh],
    ['one key, its first request still running', '409', inFlight],
    ['one key, completed: replays', '201', completed],
  ].map(([name, answers, results]) => {
    const { p50, p99, perSecond } = summary(results);
    const against = ratioSpread(ratio(results, fresh));
    return [name, answers, ms(p50), ms(p99), wholeSpread(perSecond), against];
  });
  return `# A storm of duplicates on one key

PostgreSQL, 16 clients, an empty handler, ${stormRequests.toLocaleString('en')} requests each in ${rounds} interleaved rounds. Each round's hot
key had exactly one effect; the benchmark fails otherwise. Times in milliseconds over all rounds,
throughput and its ratio to new keys of the median round (lowest–highest).

${table(
  ['Requests', 'all answered', 'p50', 'p99', 'requests/s', 'throughput against new keys'],
  rows,
)}
`;
}
