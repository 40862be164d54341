import { POINTS } from '../checks/points.mjs';
import { barChart } from '../lib/chart.mjs';
import { ms, ratioSpread, table, wholeSpread } from '../lib/format.mjs';
import { ratio, summary } from '../lib/stats.mjs';
import { BARE, BODIES, GROUP, WORKLOADS, cellName, cells } from './contenders-cells.mjs';
import { goals } from './goals.mjs';

export function chart(built, results) {
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

export function page(all, built, results, { contenderRounds: rounds, contenderMs: roundMs }) {
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
begins after something was sent to it. SQLite has none, and its statements are counted at the driver. Throughput is against the bare route
in the same round (1 KB, 16 clients), the median of ${rounds} rounds of ${roundMs / 1000} s (lowest–highest), of processes that have answered
some thousand requests before.

## Goals

${goals(built, results)}

## Points

${pointsTable(built)}

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
      one.replay === undefined ? '' : asked(one, one.replay),
      ...against,
    ];
  });
  const headings = ['points', 'effects per key', 'round trips, new', 'replay'];
  return table(['Contender', ...headings, 'new keys', 'replays', 'mixed'], rows);
}

const asked = ({ inProcess }, count) => (inProcess ? `${count} statements` : String(count));

function pointsTable(built) {
  const checked = built.filter(({ missed }) => missed !== undefined);
  const rows = POINTS.map(({ says }) => [
    says,
    ...checked.map(({ missed }) => (missed.includes(says) ? '–' : 'yes')),
  ]);
  return table(['Point', ...checked.map(({ name }) => name)], rows);
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
