import { ratioSpread, table } from '../lib/format.mjs';
import { ratio } from '../lib/stats.mjs';
import { BARE, FLOOR, cellName } from './contenders-cells.mjs';

/** What the library has set itself, and whether this run reaches it. */
const GOALS = [
  {
    says: 'a replay from the local cache against the bare route',
    goal: 0.9,
    of: 'PostgreSQL, replayCache',
    against: BARE,
    workload: 'replays',
    clients: [1, 16, 64],
  },
  {
    says: 'Redis, new keys, against @node-idempotency/nestjs on the same Redis',
    goal: 1.5,
    of: 'Redis',
    against: '@node-idempotency/nestjs, Redis',
    workload: 'new keys',
    clients: [1, 16, 64],
  },
  {
    says: 'PostgreSQL, new keys, against two plain statements over HTTP',
    goal: 2,
    of: 'PostgreSQL',
    against: FLOOR,
    workload: 'new keys',
    clients: [64],
  },
];

export function goals(built, results) {
  const isBuilt = (name) => built.some((one) => one.name === name);
  const rows = GOALS.flatMap(({ says, goal, of, against, workload, clients }) =>
    clients.map((count) => {
      if (!isBuilt(of)) {
        return [says, count, goal, 'not built'];
      }
      const cell = results[cellName(workload, 1_000, count)];
      return [says, count, goal, verdict(ratio(cell[of], cell[against]), goal)];
    }),
  );
  return table(['Ratio of throughput, 1 KB', 'clients', 'at least', 'measured'], rows);
}

export const verdict = (spread, goal) =>
  `${ratioSpread(spread)} ${spread.median >= goal ? 'reached' : '**missed**'}`;
