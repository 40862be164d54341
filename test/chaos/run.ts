/**
 * Attacks the library and checks its promises, then attacks known-bad variants of it, which the same
 * checker must catch.
 *
 *   npm run chaos                                     every configuration and every bad variant, briefly
 *   npm run chaos -- --seed 42 --minutes 10           the configurations, for ten minutes in all
 *   npm run chaos -- --config lease-pg --seed 42      one of them
 */
import 'reflect-metadata';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { fight, isCaught, type Fight, type Result } from './arena.js';
import { buildApplications } from './build.js';
import {
  configurations,
  isTooth,
  teeth,
  type Configuration,
  type Tooth,
} from './configurations.js';
import { startMariaDb } from './database/mariadb.js';
import { startPostgres } from './database/postgres.js';
import type { DatabaseServer } from './database/server.js';
import { describeRun, dump } from './report.js';

/** So many runs at a time: while applications and databases of one start again, the other uses the machine. */
const LANES = Math.min(2, availableParallelism());
const starters = { postgres: startPostgres, mariadb: startMariaDb };

interface Plan {
  readonly runs: readonly (Configuration | Tooth)[];
  readonly seed: number;
  /** What the seconds of every configuration are multiplied by. */
  readonly factor: number;
}

function plan(): Plan {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      minutes: { type: 'string' },
      config: { type: 'string', multiple: true },
    },
  });
  const all = [...configurations, ...teeth];
  const runs = values.config
    ? values.config.map((name) => named(all, name))
    : values.minutes === undefined
      ? all
      : configurations;
  const seconds = runs.reduce((sum, run) => sum + run.seconds, 0);
  const minutes = wholeOrPart('minutes', values.minutes);
  return {
    runs,
    seed: wholeOrPart('seed', values.seed) ?? Math.floor(Math.random() * 2 ** 31),
    factor: minutes === undefined ? 1 : (minutes * 60 * Math.min(LANES, runs.length)) / seconds,
  };
}

function named<T extends Configuration>(all: readonly T[], name: string): T {
  const found = all.find((one) => one.name === name);
  if (found === undefined) {
    const names = all.map((one) => one.name).join(', ');
    throw new Error(`There is no configuration '${name}'. Write one of ${names}.`);
  }
  return found;
}

function wholeOrPart(option: string, text: string | undefined): number | undefined {
  const value = text === undefined ? undefined : Number(text);
  if (value !== undefined && !(value > 0)) {
    throw new Error(`--${option} is '${text}'. Write a number above 0.`);
  }
  return value;
}

async function main({ runs, seed, factor }: Plan): Promise<boolean> {
  const build = await buildApplications();
  const waiting = [...runs];
  const lane = (): Promise<boolean> => judgeAll(waiting, { seed, factor, build: build.path });
  try {
    const lanes = await Promise.all(Array.from({ length: LANES }, lane));
    return lanes.every(Boolean);
  } finally {
    await build.remove();
  }
}

/** One run after the other, as long as some wait, on servers of its own: a fault of one run must not meet another. */
async function judgeAll(
  waiting: (Configuration | Tooth)[],
  { factor, ...given }: Omit<Plan, 'runs'> & { readonly build: string },
): Promise<boolean> {
  const servers = new Map<Configuration['database'], DatabaseServer>();
  let isGood = true;
  try {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { database, seconds } = next;
      if (database !== 'sqlite' && !servers.has(database)) {
        servers.set(database, await starters[database]());
      }
      const server = servers.get(database);
      const fight = { ...given, configuration: next, seconds: seconds * factor };
      isGood = (await judge({ ...fight, ...(server !== undefined && { server }) })) && isGood;
    }
  } finally {
    await Promise.all([...servers.values()].map((server) => server.close()));
  }
  return isGood;
}

/** Whether the run went as it must. */
async function judge(given: Fight): Promise<boolean> {
  const { configuration, seed } = given;
  const result = await fight(given);
  const fault = faultOf(configuration, result);
  const verdict =
    fault === undefined
      ? [isTooth(configuration) ? '  caught, as it must be' : '  every promise was kept']
      : [
          `  FAILED: ${fault} The whole history: ${await dump(given, result)}`,
          `  Again: npm run chaos -- --seed ${seed} --config ${configuration.name}`,
        ];
  // at once: another run may tell its own at any time
  console.log([describeRun(given, result), ...verdict].join('\n'));
  return fault === undefined;
}

function faultOf(configuration: Configuration | Tooth, result: Result): string | undefined {
  if (!result.evidence.history.calls.some(({ certainty }) => certainty === 'ok')) {
    return 'no operation succeeded.';
  }
  if (isTooth(configuration)) {
    return isCaught(configuration)(result)
      ? undefined
      : `nobody noticed that it breaks '${configuration.breaks}'.`;
  }
  return result.violations.length > 0 ? 'see above.' : undefined;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(1));
}
// a connection that a fault has left half open must not keep us
process.exit((await main(plan())) ? 0 : 1);
