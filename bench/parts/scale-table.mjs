import { createHash } from 'node:crypto';
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

/** Two days of the same records in partitions: one is deleted row by row, the other is dropped. */
export async function deleteAndDrop(url, rows) {
  const run = (sql) => onPostgres(sql, url);
  await run(`CREATE TABLE by_day (day integer NOT NULL, LIKE idempotency_record, PRIMARY KEY (day, id))
    PARTITION BY RANGE (day)`);
  await run('CREATE INDEX ON by_day (sweep_at)');
  for (const day of [1, 2]) {
    await run(
      `CREATE TABLE by_day_${day} PARTITION OF by_day FOR VALUES FROM (${day}) TO (${day + 1})`,
    );
    await run(
      `INSERT INTO by_day SELECT ${day}, r.* FROM (SELECT * FROM idempotency_record LIMIT ${rows}) r`,
    );
  }
  await run('VACUUM (ANALYZE) by_day');
  const deleting = await timed(() => run(DELETE_IN_BATCHES));
  const vacuuming = await vacuum(url, 'by_day_1');
  const dropping = await timed(async () => {
    await run('ALTER TABLE by_day DETACH PARTITION by_day_2 CONCURRENTLY');
    await run('DROP TABLE by_day_2');
  });
  return { deleting, vacuuming, dropping };
}

/** As clean-up does it, but without a rest. */
const DELETE_IN_BATCHES = `DO $$ BEGIN
  LOOP
    DELETE FROM by_day_1 WHERE ctid = ANY (ARRAY (
      SELECT ctid FROM by_day_1 ORDER BY sweep_at LIMIT 1000 FOR UPDATE SKIP LOCKED));
    EXIT WHEN NOT FOUND;
    COMMIT;
  END LOOP;
END $$`;
