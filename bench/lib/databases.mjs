import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { idempotencyMigrations } from 'nestjs-idempotency/typeorm';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { createClient } from 'redis';
import { DataSource } from 'typeorm';

export const postgresUrl =
  process.env.BENCH_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres';
export const mariaDbUrl = process.env.BENCH_MARIADB_URL ?? 'mysql://root@127.0.0.1:3306';
export const rabbitMqUrl = process.env.BENCH_RABBITMQ_URL ?? 'amqp://guest:guest@127.0.0.1:5672';
export const redisUrl = process.env.BENCH_REDIS_URL ?? 'redis://127.0.0.1:6379/15';

/** An empty database with the library's table and one for orders: its TypeORM options, and `drop()`. */
export async function createDatabase(type) {
  const { options, drop } = await CREATE[type]();
  const dataSource = new DataSource({ ...options, migrations: [...idempotencyMigrations()] });
  await dataSource.initialize();
  await dataSource.runMigrations();
  const id = type === 'sqlite' ? 'integer PRIMARY KEY' : 'serial PRIMARY KEY';
  await dataSource.query(`CREATE TABLE bench_order (id ${id}, item text, quantity integer)`);
  await dataSource.destroy();
  return { options, drop };
}

const CREATE = { sqlite: createSqlite, postgres: createPostgres, mariadb: createMariaDb };

async function createSqlite() {
  const folder = await mkdtemp(join(tmpdir(), 'idempotency-bench-'));
  return {
    options: { type: 'better-sqlite3', database: join(folder, 'bench.sqlite'), enableWAL: true },
    drop: () => rm(folder, { recursive: true }),
  };
}

async function createPostgres() {
  const name = newName();
  await onPostgres(`CREATE DATABASE ${name}`);
  return {
    options: { type: 'postgres', url: withDatabase(postgresUrl, name) },
    drop: () => onPostgres(`DROP DATABASE ${name} WITH (FORCE)`),
  };
}

async function createMariaDb() {
  const name = newName();
  await onMariaDb(`CREATE DATABASE ${name}`);
  return {
    options: { type: 'mariadb', url: withDatabase(mariaDbUrl, name) },
    drop: () => onMariaDb(`DROP DATABASE ${name}`),
  };
}

async function onMariaDb(sql) {
  const connection = await mysql.createConnection(mariaDbUrl);
  await connection.query(sql).finally(() => connection.end());
}

function newName() {
  return `idempotency_bench_${randomBytes(6).toString('hex')}`;
}

function withDatabase(url, name) {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

/** Runs one statement and answers its rows. */
export async function onPostgres(sql, url = postgresUrl) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Of the whole server, in bytes: what it writes between two of them is the log of what happened meanwhile. */
export async function walPosition() {
  const [{ bytes }] = await onPostgres(
    `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS bytes`,
  );
  return bytes;
}

/** An empty Redis database; `drop()` empties it again. */
export async function createRedis() {
  const client = createClient({ url: redisUrl });
  await client.connect();
  if ((await client.dbSize()) > 0) {
    await client.quit();
    throw new Error(
      'The Redis database of the benchmark is not empty. Empty it, or set BENCH_REDIS_URL to one ' +
        'that may be flushed.',
    );
  }
  return {
    async drop() {
      await client.flushDb();
      await client.quit();
    },
  };
}
