import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  DataSource,
  DriverPackageNotInstalledError,
  InstanceChecker,
  type DataSourceOptions,
  type Logger,
} from 'typeorm';
import { describeCause } from '../describe-cause.js';
import type { Values } from './command-line.js';
import { Refusal, UsageError } from './failures.js';

/** Statements hold keys, and standard output is for answers. */
const SILENT: Logger = {
  logQuery() {},
  logQueryError() {},
  logQuerySlow() {},
  logSchemaBuild() {},
  logMigration() {},
  log() {},
};

/** The connection alone: nothing of the application is loaded, created, migrated or dropped. */
const CONNECTION_ONLY = {
  entities: [],
  subscribers: [],
  migrations: [],
  synchronize: false,
  migrationsRun: false,
  dropSchema: false,
  logger: SILENT,
} satisfies Partial<DataSourceOptions>;

/** @throws UsageError, Refusal */
export async function connect(
  { 'data-source': file, url }: Values,
  migrations: DataSourceOptions['migrations'] & unknown[] = [],
): Promise<DataSource> {
  if ((file === undefined) === (url === undefined)) {
    throw new UsageError('Write either -d <data-source file> or --url <url>.');
  }
  const dataSource =
    file === undefined ? dataSourceAt(optionsOf(url as string)) : await dataSourceIn(file);
  try {
    if (dataSource.isInitialized) await dataSource.destroy();
    return await dataSource.setOptions({ ...CONNECTION_ONLY, migrations }).initialize();
  } catch (error) {
    throw new Refusal(
      'There is no connection to the database. Check that it is reachable, and the options of the DataSource' +
        `${describeCause(new Error('', { cause: error }))}.`,
    );
  }
}

function optionsOf(url: string): DataSourceOptions {
  const scheme = /^([a-z0-9+]+):/i.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'postgres':
    case 'postgresql':
      return { type: 'postgres', url };
    case 'mysql':
    case 'mariadb':
      return { type: scheme, url };
    case 'sqlite':
      return {
        type: 'better-sqlite3',
        database: url.slice('sqlite:'.length),
        fileMustExist: true,
      };
    default:
      throw new UsageError(
        'Write a --url that begins with postgres:, mysql:, mariadb: or sqlite:.',
      );
  }
}

function dataSourceAt(options: DataSourceOptions): DataSource {
  try {
    return new DataSource(options);
  } catch (error) {
    throw withoutDriver(error) ?? error;
  }
}

async function dataSourceIn(file: string): Promise<DataSource> {
  const exported = await load(file);
  const found = new Set<DataSource>();
  for (const candidate of [exported, exported.default]) {
    if (InstanceChecker.isDataSource(candidate)) {
      found.add(candidate);
    } else if (typeof candidate === 'object' && candidate !== null) {
      for (const value of await Promise.all(Object.values(candidate))) {
        if (InstanceChecker.isDataSource(value)) found.add(value);
      }
    }
  }
  const [dataSource, another] = found;
  if (dataSource === undefined || another !== undefined) {
    throw new Refusal(
      `'${file}' exports ${another === undefined ? 'no' : 'more than one'} DataSource. Export one, as for the ` +
        'command line of TypeORM.',
    );
  }
  return dataSource;
}

async function load(file: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>;
  } catch (error) {
    throw (
      withoutDriver(error) ??
      new Refusal(
        `'${file}' cannot be loaded${describeCause(new Error('', { cause: error }))}. ` +
          whatToDo(file, error),
      )
    );
  }
}

function whatToDo(file: string, error: unknown): string {
  if (/^\.[cm]?ts$/.test(extname(file))) {
    return (
      `Node loads TypeScript with a loader: NODE_OPTIONS='--import tsx' npx nestjs-idempotency … Or name the ` +
      'compiled file.'
    );
  }
  return (error as { code?: unknown } | undefined)?.code === 'ERR_MODULE_NOT_FOUND'
    ? 'Check its path and its imports.'
    : `To see why, run: node ${file}`;
}

/** TypeORM's sentence names the package to install, and nothing else. */
function withoutDriver(error: unknown): Refusal | undefined {
  return error instanceof DriverPackageNotInstalledError ? new Refusal(error.message) : undefined;
}
