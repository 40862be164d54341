import { createHash } from 'node:crypto';
import { TypeOrmStore, idempotencyMigrations } from 'nestjs-idempotency/typeorm';
import { DataSource } from 'typeorm';
import { onPostgres } from '../lib/databases.mjs';

/** Of ten records two are over. They lie together, as what was written at one time does. */
export const EXPIRED = 0.2;

/** The id of the record with that number. */
export function idOf(number) {
  return createHash('md5').update(`id${number}`).digest('hex');
}

/**
 * Completed records, in the order in which their times are over, into a table that has its indexes. Every
 * eighth has a result of 0.5 to 1 KB, the others one of 64 bytes.
 */
export async function fill(url, { from, to, areOver }) {
  const over = areOver ? `now - ${to} + n` : `now + 86400000 + n`;
  // the log of a fill is not what is measured
  await onPostgres(
    `SET wal_compression = lz4;
     INSERT INTO idempotency_record (id, scope, operation, idempotency_key, fingerprint, state, owner,
       fence, attempts_started, attempts_finished, claimed_at, expires_at, sweep_at, result)
     SELECT hex::uuid, 'user-' || n % 1000, 'POST /orders', hex::uuid::text, decode(hex || '00', 'hex'), 1,
       hex::uuid, n, 1, 1, over - 86400000, over, over,
       decode(repeat(hex, CASE n % 8 WHEN 0 THEN 32 + n % 33 ELSE 4 END::int), 'hex')
     FROM (SELECT n, md5('id' || n) AS hex, ${over} AS over
       FROM generate_series(${from}::bigint, ${to}) n,
         (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) clock OFFSET 0) made`,
    url,
  );
}

export async function vacuum(url, table = 'idempotency_record') {
  return timed(() => onPostgres(`VACUUM (ANALYZE) ${table}`, url));
}

/** Seconds. */
export async function timed(work) {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1000;
}

/** Bytes. */
export async function sizesOf(url) {
  const [sizes] = await onPostgres(
    `SELECT pg_relation_size('idempotency_record')::float8 AS heap,
       pg_relation_size('idempotency_record_pkey')::float8 AS key,
       pg_relation_size('idempotency_record_sweep')::float8 AS sweep`,
    url,
  );
  return sizes;
}

/** Of the completions so far, the share that touched no index. */
export async function heapOnlyShare(url) {
  const [{ share }] = await onPostgres(
    `SELECT (n_tup_hot_upd / nullif(n_tup_upd, 0)::float8) AS share FROM pg_stat_user_tables
     WHERE relname = 'idempotency_record'`,
    url,
  );
  return share;
}

const DAY_MS = 86_400_000;

/** The first digits of the ids of that many days ago. */
export function dayDigits(daysAgo) {
  return (Math.floor(Date.now() / DAY_MS) - daysAgo).toString(16).padStart(4, '0');
}

/**
 * A table by day: the same number of records on three days, two of which are over. Those of one day are deleted row by
 * row, as if something kept it; those of the other go at once. `use` is called with the store while the third is there.
 */
export async function byDay(options, rows, use) {
  const run = (sql) => onPostgres(sql, options.url);
  const migrations = idempotencyMigrations({ table: 'by_day', dailyPartitions: true });
  const dataSource = await new DataSource({ ...options, poolSize: 10, migrations }).initialize();
  try {
    await dataSource.runMigrations();
    for (const daysAgo of [0, 1, 2]) await fillDay(run, daysAgo, rows);
    await run('VACUUM (ANALYZE) by_day');
    const store = new TypeOrmStore(dataSource, { table: 'by_day' });
    await store.init();
    const used = await use(store);
    const deleting = await timed(async () => {
      while ((await store.deleteExpired(1_000)) > 0);
    });
    const vacuuming = await vacuum(options.url, 'by_day_1');
    const dropping = await timed(() => store.maintain());
    return { ...used, deleting, vacuuming, dropping };
  } finally {
    await dataSource.destroy();
  }
}

async function fillDay(run, daysAgo, rows) {
  const [from, to] = [daysAgo, daysAgo - 1].map((day) => `'${dayDigits(day)}'`);
  if (daysAgo > 0) {
    await run(
      `CREATE TABLE by_day_${daysAgo} PARTITION OF by_day
       FOR VALUES FROM (rpad(${from}, 32, '0')::uuid) TO (rpad(${to}, 32, '0')::uuid) WITH (fillfactor = 80)`,
    );
  }
  // yesterday has waited for longer than clean-up lets single records wait for their day
  const over = ['expires_at', 'expires_at - 4 * 86400000', 'expires_at - 2 * 86400000'][daysAgo];
  await run(
    `INSERT INTO by_day (id, scope, operation, idempotency_key, fingerprint, state, owner, fence, attempts_started,
       attempts_finished, claimed_at, expires_at, sweep_at, result)
     SELECT (${from} || substr(replace(id::text, '-', ''), 5))::uuid, scope, operation, idempotency_key, fingerprint,
       state, owner, fence, attempts_started, attempts_finished, claimed_at, ${over}, ${over}, result
     FROM (SELECT * FROM idempotency_record WHERE state = 1 ORDER BY expires_at DESC LIMIT ${rows}) r`,
  );
}
