import { createDatabase } from '../lib/databases.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { median, ratio, spread } from '../lib/stats.mjs';

const TITLES = { postgres: 'PostgreSQL', mariadb: 'MariaDB', sqlite: 'SQLite' };
const SINGLE = { way: 'one by one', size: 100 };
const WAYS = [
  SINGLE,
  ...[10, 100].flatMap((size) => [
    { way: 'at once', size },
    { way: 'together', size },
  ]),
];

/** What items cost that are claimed and completed together, beside items that are so by themselves. */
export async function batches(sizes) {
  const rows = [];
  for (const type of Object.keys(TITLES)) {
    const { options, drop } = await createDatabase(type);
    try {
      rows.push(...(await measure(type, options, sizes)));
    } finally {
      await drop();
    }
  }
  return `# Batches

New items, whose work does nothing and answers 0.4 KB, in lease mode. *One by one*: \`execute()\` for each, one after the other.
*At once*: \`execute()\` for each of so many, with \`Promise.all()\`. *Together*: \`executeBatch()\`, which claims all in one statement
and completes all in one. ${sizes.batchItems} items in each of ${sizes.batchRounds} interleaved rounds: the median (lowest–highest).
*CPU* is what the process spent on an item, in milliseconds. *Round trips* are counted at its sockets; SQLite has none.

${table(['Database', 'Items', 'How', 'items/s', 'against one by one', 'CPU', 'round trips per item'], rows)}

Every item was processed once; the benchmark fails otherwise.
`;
}

async function measure(type, database, { batchRounds, batchItems: count }) {
  const app = await start('app/batch.mjs', [JSON.stringify({ database })]);
  for (const way of WAYS) {
    await app.ask('work', { ...way, count: 100 });
  }
  const results = WAYS.map(() => []);
  for (let round = 0; round < batchRounds; round += 1) {
    for (let turn = 0; turn < WAYS.length; turn += 1) {
      const index = (turn + round) % WAYS.length;
      const result = await app.ask('work', { ...WAYS[index], count });
      if (result.ran !== count) {
        throw new Error(`${result.ran} of ${count} items ran, ${WAYS[index].way}.`);
      }
      results[index].push(result);
    }
  }
  await app.stop();
  return WAYS.map(({ way, size }, index) => {
    const own = results[index];
    return [
      TITLES[type],
      way === SINGLE.way ? '' : size,
      way,
      wholeSpread(spread(own.map(({ perSecond }) => perSecond))),
      ratioSpread(ratio(own, results[0])),
      ms(median(own.map(({ cpuMs }) => cpuMs))),
      (median(own.map(({ roundTrips }) => roundTrips)) / count).toFixed(2),
    ];
  });
}
