import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import { LedgerEntry, Stock } from './app/entities.js';
import { LEASE_MS, type AppOptions } from './app/options.js';
import { outlivingErrors } from './app/outlive-errors.js';
import { check, type Violation } from './checker.js';
import { Clients, SKUS } from './clients.js';
import { isTooth, type Configuration, type Tooth } from './configurations.js';
import type { DatabaseServer } from './database/server.js';
import { gather, INITIAL_STOCK, type Evidence } from './evidence.js';
import { exitOf, Fleet, portOf, startProgram } from './fleet.js';
import { History } from './history.js';
import { Nemesis, type Fault, type Surroundings } from './nemesis.js';
import { ChaosProxy } from './proxy.js';
import { Random } from './random.js';
import { temporaryFolder } from './temporary.js';

const PLATFORMS = ['express', 'express', 'fastify'] as const;
const CLIENTS = 24;
/** After the last fault every key has an outcome within so long, in milliseconds. */
const GRACE_MS = LEASE_MS + 5_000;

export interface Result {
  readonly evidence: Evidence;
  readonly violations: readonly Violation[];
  readonly faults: readonly Fault[];
  readonly poolSize: number;
  readonly seconds: number;
}

export interface Fight {
  readonly configuration: Configuration | Tooth;
  readonly seed: number;
  readonly seconds: number;
  readonly build: string;
  /** None for SQLite. */
  readonly server?: DatabaseServer;
}

/** One run: applications, clients and faults for a while, then quiet, then the checker. */
export async function fight(given: Fight): Promise<Result> {
  const closing: (() => Promise<unknown>)[] = [];
  try {
    return await fightOn(given, closing);
  } finally {
    for (const close of closing.reverse()) {
      await close();
    }
  }
}

async function fightOn(
  { configuration, seed, seconds, build, server }: Fight,
  closing: (() => Promise<unknown>)[],
): Promise<Result> {
  const random = new Random(seed).fork(configuration.name);
  const history = new History();
  const poolSize = random.pick([2, 4, 8]);

  const folder = await temporaryFolder('sqlite');
  closing.push(() => folder.remove());
  const proxy = server && (await ChaosProxy.start(server.port));
  closing.push(async () => proxy?.close());
  const reach = (port: number | undefined): DataSourceOptions =>
    server && port !== undefined ? server.options(port) : sqliteIn(folder.path);
  const observer = await prepare(reach(server?.port));
  closing.push(() => observer.destroy());

  const provider = startProgram(build, 'provider', []);
  closing.push(() => {
    provider.kill('SIGKILL');
    return exitOf(provider);
  });
  const providerPort = await portOf(provider);
  const variant = isTooth(configuration) ? configuration.variant : undefined;
  const apps = PLATFORMS.map((platform): AppOptions => {
    const dataSource = { ...reach(proxy?.port), poolSize } as DataSourceOptions;
    return { platform, dataSource, providerPort, ...(variant !== undefined && { variant }) };
  });
  const fleet = await Fleet.start(build, apps);
  closing.push(() => fleet.close());

  const began = performance.now();
  const nemesis = new Nemesis(
    fleet,
    server && proxy && surroundings(server, proxy, observer),
    history,
    random.fork('nemesis'),
    configuration,
  );
  closing.push(() => nemesis.stop());
  const clients = new Clients(
    configuration.path,
    fleet.places,
    history,
    random.fork('clients'),
    CLIENTS,
  );
  closing.push(async () => clients.close());

  const look = async (
    leaks: readonly string[] = [],
  ): Promise<{ evidence: Evidence; violations: Violation[] }> => {
    const known = { history: snapshot(history), deaths: fleet.deaths, leaks };
    const evidence = await gather(known, observer, providerPort);
    return { evidence, violations: check(evidence, configuration) };
  };
  const end = began + seconds * 1_000;
  while (performance.now() < end) {
    await sleep(Math.min(1_000, end - performance.now()));
    // a look may meet a database that is on its way up
    if (isTooth(configuration) && (await look().then(isCaught(configuration), () => false))) {
      break;
    }
  }
  await nemesis.stop();
  await clients.finish(GRACE_MS);
  await clients.audit();
  const seen = await look(server && (await fleet.leaks(poolSize)));
  const took = (performance.now() - began) / 1_000;
  return { ...seen, faults: nemesis.faults, poolSize, seconds: took };
}

/** Whether the promise that it breaks was seen broken. */
export function isCaught({ breaks }: Tooth): (seen: Pick<Result, 'violations'>) => boolean {
  return ({ violations }) => violations.some(({ rule }) => rule === breaks);
}

/** The tables, and a stock to sell from. */
async function prepare(options: DataSourceOptions): Promise<DataSource> {
  const observer = new DataSource({
    ...outlivingErrors(options),
    entities: [Stock, LedgerEntry],
    synchronize: true,
    dropSchema: true,
  } as DataSourceOptions);
  await observer.initialize();
  await new TypeOrmStore(observer).init();
  await observer.manager.insert(
    Stock,
    SKUS.map((sku) => ({ sku, quantity: INITIAL_STOCK })),
  );
  return observer;
}

function sqliteIn(folder: string): DataSourceOptions {
  return {
    type: 'better-sqlite3',
    database: join(folder, 'chaos.sqlite'),
    enableWAL: true,
  };
}

function surroundings(
  server: DatabaseServer,
  proxy: ChaosProxy,
  observer: DataSource,
): Surroundings {
  return {
    proxy,
    records: 'idempotency_record',
    terminateAll: () => observer.query(server.terminateAll),
    crash: () => server.crash(),
  };
}

/** What is known at this moment: the effects are looked at after it, and so can only be more. */
function snapshot({ calls, intents, stuck, faults }: History): History {
  const now = new History();
  now.calls.push(...calls);
  now.intents.push(...intents);
  now.stuck.push(...stuck);
  now.faults.push(...faults);
  return now;
}
