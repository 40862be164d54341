import { setTimeout } from 'node:timers/promises';
import { randomInt } from 'node:crypto';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import { DataSource } from 'typeorm';
import { createDatabase } from '../lib/databases.mjs';
import { ms, table, whole } from '../lib/format.mjs';
import { percentile } from '../lib/stats.mjs';
import {
  EXPIRED,
  byDay,
  dayDigits,
  fill,
  heapOnlyShare,
  idOf,
  sizesOf,
  vacuum,
} from './scale-table.mjs';
import { loop, newClaim } from './support.mjs';

const CALLERS = 8;
const RESULT = Buffer.alloc(700, 'a');

/** The store on PostgreSQL while its table grows. */
export async function scale({ scaleRows: rows, scaleMs: forMs }) {
  const { options, drop } = await createDatabase('postgres');
  const { url } = options;
  const dataSource = await new DataSource({ ...options, poolSize: 10 }).initialize();
  try {
    const store = new TypeOrmStore(dataSource);
    await store.init();
    const small = rows / 10;
    const over = rows * EXPIRED;
    const serve = async (count, liveNumber) => ({
      rows: count,
      sizes: await sizesOf(url),
      claims: await loop(() => runNew(store), CALLERS, forMs),
      replays: await loop(() => replay(store, liveNumber()), CALLERS, forMs),
    });

    await fill(url, { from: 1, to: small });
    await vacuum(url);
    const few = await serve(small, () => randomInt(1, small));
    await fill(url, { from: small + 1, to: small + over, areOver: true });
    await fill(url, { from: small + over + 1, to: rows });
    await vacuum(url);
    const many = await serve(rows, () => randomInt(small + over + 1, rows));

    const alone = await cleanUp(store, forMs, (took) => setTimeout(took));
    const beside = await loopBeside(store, forMs);
    const restless = await cleanUp(store, forMs, () => undefined);
    await dataSource.destroy();
    const deleted = alone.deleted + beside.cleanup.deleted + restless.deleted;
    const heapOnly = await heapOnlyShare(url);
    const debt = { deleted, first: await vacuum(url), again: await vacuum(url) };
    const dayRows = small;
    const day = await byDay(options, dayRows, async (store) => ({
      dayRows,
      claims: await loop(() => runNew(store, dayDigits(0)), CALLERS, forMs),
    }));
    return page({ few, many, alone, beside, restless, heapOnly, debt, day, forMs });
  } finally {
    if (dataSource.isInitialized) await dataSource.destroy();
    await drop();
  }
}

async function runNew(store, digits = '') {
  const claim = newClaim();
  claim.id = digits + claim.id.slice(digits.length);
  const { type } = await store.claim(claim);
  const { applied } = await store.complete({ ...claim, result: RESULT });
  if (type !== 'claimed' || !applied) {
    throw new Error('A new key was not claimed, or not completed.');
  }
}

async function replay(store, number) {
  const { type, record } = await store.claim({ ...newClaim(), id: idOf(number) });
  if (type !== 'held' || record.state !== 'completed') {
    throw new Error('A key that has its outcome was not replayed.');
  }
}

/** For so long, and not longer than there is something to delete. */
async function cleanUp(store, forMs, rest) {
  const startedAt = performance.now();
  let deleted = 0;
  while (performance.now() - startedAt < forMs) {
    const before = performance.now();
    const batch = await store.deleteExpired(1_000);
    if (batch === 0) break;
    deleted += batch;
    await rest(performance.now() - before);
  }
  return { deleted, perSecond: deleted / ((performance.now() - startedAt) / 1000) };
}

async function loopBeside(store, forMs) {
  const [claims, cleanup] = await Promise.all([
    loop(() => runNew(store), CALLERS, forMs),
    cleanUp(store, forMs, (took) => setTimeout(took)),
  ]);
  return { claims, cleanup };
}

const BILLION = 1_000_000_000;
const gigabytes = (bytes) => (bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 0);

function sizeRow(title, { heap, key, sweep }, factor = 1) {
  return [title, ...[heap, key, sweep, heap + key + sweep].map((size) => gigabytes(size * factor))];
}

function latencyRow(title, { latencies, perSecond }) {
  return [title, ms(percentile(latencies, 0.5)), ms(percentile(latencies, 0.99)), whole(perSecond)];
}

function page({ few, many, alone, beside, restless, heapOnly, debt, day, forMs }) {
  const perRow = (size) => Math.round(size / many.rows);
  const { heap, key, sweep } = many.sizes;
  const at = ({ rows }) => `${whole(rows)} records`;
  return `# The size of the table

PostgreSQL. Completed records are inserted into the table of the migration with its indexes in place, ids in random order and times in
ascending order, as an application does it; every eighth has a result of 0.5 to 1 KB, the others one of 64 bytes. Then
${CALLERS} callers use the store on a pool of 10 connections, for ${forMs / 1000} s each time. \`VACUUM\` is run by hand, after each fill and where
it is named.

## Bytes

In GB (10⁹ bytes). A record is ${perRow(heap)} bytes in the table, ${perRow(key)} in the primary key and ${perRow(sweep)} in the index of clean-up. The last
line is not measured: it is the one before, times ${whole(BILLION / many.rows)}.

${table(
  ['', 'table', 'primary key', 'index of clean-up', 'all'],
  [
    sizeRow(at(few), few.sizes),
    sizeRow(at(many), many.sizes),
    sizeRow(`${whole(BILLION)} records, projected`, many.sizes, BILLION / many.rows),
  ],
)}

## Latency

In milliseconds. *New* is a claim and its completion with ${RESULT.length} bytes, two commits; *replay* is a claim of a random record that has its
outcome. ${Math.round(heapOnly * 100)} % of all completions touched no index.

${table(
  ['', 'p50', 'p99', 'per second'],
  [
    latencyRow(`new, ${at(few)}`, few.claims),
    latencyRow(`new, ${at(many)}`, many.claims),
    latencyRow(`replay, ${at(few)}`, few.replays),
    latencyRow(`replay, ${at(many)}`, many.replays),
    latencyRow(`new, ${at(many)}, during clean-up`, beside.claims),
    latencyRow(`new, ${whole(3 * day.dayRows)} records, by day`, day.claims),
  ],
)}

## Clean-up against inserts

Of ${at(many)}, ${whole(many.rows * EXPIRED)} are over. 1,000 in a statement, and then a rest as long as it took, as by default; or none.

${table(
  ['', 'deleted per second', 'inserted per second'],
  [
    ['clean-up, alone', whole(alone.perSecond), '0'],
    [
      `clean-up beside ${CALLERS} callers`,
      whole(beside.cleanup.perSecond),
      whole(beside.claims.perSecond),
    ],
    ['clean-up without a rest, alone', whole(restless.perSecond), '0'],
  ],
)}

## Vacuum

${whole(debt.deleted)} of ${at(many)} were deleted above. \`VACUUM\` took **${debt.first.toFixed(1)} s** to make their space free for new ones; once more, with nothing left to do,
${debt.again.toFixed(1)} s.

## Deleting a day and dropping it

${whole(day.dayRows)} records in the partition of their day, with what \`dailyPartitions\` makes.

${table(
  ['', 'seconds'],
  [
    ['deleted, 1,000 in a statement', day.deleting.toFixed(2)],
    ['and vacuumed', day.vacuuming.toFixed(2)],
    ['a whole day, looked at twice', day.dropping.toFixed(2)],
  ],
)}
`;
}
