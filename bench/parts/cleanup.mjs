import { setTimeout } from 'node:timers/promises';
import { createDatabase, onPostgres } from '../lib/databases.mjs';
import { ms, table, whole } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { expectOnly, percentile } from '../lib/stats.mjs';
import { startApp } from './support.mjs';

/** Deletes many expired records while the application serves. */
export async function cleanup(sizes) {
  const database = await createDatabase('postgres');
  try {
    await insertExpired(database.options.url, sizes.expiredRows);
    return page(await measure(database.options, sizes), sizes);
  } finally {
    await database.drop();
  }
}

/** Completed records whose time is over, with a result of 0.5 KB. */
async function insertExpired(url, rows) {
  await onPostgres(
    `INSERT INTO idempotency_record (id, scope, operation, idempotency_key, fingerprint, state, owner,
       fence, attempts_started, attempts_finished, claimed_at, expires_at, sweep_at, result)
     SELECT md5('id' || n)::uuid, 'user-' || n % 1000, 'POST /orders', md5('key' || n),
       decode(md5('fingerprint' || n), 'hex'), 1, md5('owner' || n)::uuid, n, 1, 1,
       now - n - 90000000, now - n, now - n, decode(repeat(md5('result' || n), 32), 'hex')
     FROM generate_series(1, ${rows}) n,
       (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) clock`,
    url,
  );
  await onPostgres('VACUUM (ANALYZE) idempotency_record', url);
  await onPostgres('CHECKPOINT', url);
}

async function measure(database, { quietMs }) {
  const generator = await start('load/generator.mjs');
  const app = await startApp({ guard: 'typeorm', database, work: 'none' });
  // warms up, and finds a load that leaves room: with more than the machine can do, latency only grows
  const warmUp = { port: app.port, clients: 16, ms: quietMs / 4 };
  await generator.ask('closedLoop', warmUp);
  const { perSecond } = await generator.ask('closedLoop', warmUp);
  const rate = Math.max(1, Math.round(perSecond / 4));

  const serve = async (work) => {
    const load = generator.ask('paced', { port: app.port, rate });
    const answer = await work();
    await generator.ask('stopPaced');
    return { load: await load, answer };
  };
  const before = await serve(() => setTimeout(quietMs));
  const during = await serve(async () => {
    const startedAt = performance.now();
    const deleted = await app.ask('deleteExpired');
    return { deleted, seconds: (performance.now() - startedAt) / 1000 };
  });
  const after = await serve(() => setTimeout(quietMs));
  const [{ left }] = await onPostgres(
    `SELECT count(*)::int AS left FROM idempotency_record
     WHERE state IN (1, 3) AND expires_at <= extract(epoch FROM now()) * 1000`,
    database.url,
  );
  await Promise.all([app.stop(), generator.stop()]);
  return { loads: [before.load, during.load, after.load], ...during.answer, left, rate };
}

function page({ loads, deleted, seconds, left, rate }, { expiredRows }) {
  if (deleted !== expiredRows || left !== 0) {
    throw new Error(`${deleted} of ${expiredRows} expired records were deleted, ${left} are left.`);
  }
  expectOnly(201, loads);
  const names = ['before (the expired records are there)', 'during cleanup', 'after'];
  const base = percentile(loads[0].latencies, 0.99);
  const rows = loads.map(({ latencies }, index) => {
    const p99 = percentile(latencies, 0.99);
    const cells = [0.5, 0.99, 1].map((share) => ms(percentile(latencies, share)));
    return [names[index], whole(latencies.length), ...cells, (p99 / base).toFixed(2)];
  });
  return `# Cleanup while the application serves

PostgreSQL, default cleanup settings (1,000 records in a statement, then a rest as long as it took), in
the same process that answers ${rate} requests a second with new keys, a quarter of what it can do here. Requests
are sent on schedule whether or not the answers keep up, and are measured in milliseconds from when
they were due.

**${whole(deleted)} expired records were deleted in ${seconds.toFixed(1)} s** (${whole(deleted / seconds)} a second); none was left.

${table(['Requests', 'count', 'p50', 'p99', 'slowest', 'p99 against before'], rows)}
`;
}
