import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';

/** `mysql` is the MariaDB server behind a DataSource of TypeORM's type `mysql`. */
export type TestDialect = 'sqlite' | 'sqlite-file' | 'postgres' | 'mariadb' | 'mysql';

/** A database of its own: nothing in it, and nobody else. */
export interface TestDatabase {
  readonly dialect: TestDialect;
  readonly options: DataSourceOptions;
  /** An initialised DataSource; `drop()` closes it. */
  open(extra?: object): Promise<DataSource>;
  /** Closes what was opened and removes the database. */
  drop(): Promise<void>;
}

const postgresUrl = process.env.TEST_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/test';
const mariaDbUrl = process.env.TEST_MARIADB_URL ?? 'mysql://root@127.0.0.1:3306/test';

/** SQLite always; the servers as far as they are there. */
export function availableDialects(): TestDialect[] {
  return [
    'sqlite',
    'sqlite-file',
    ...(postgresUrl ? (['postgres'] as const) : []),
    ...(mariaDbUrl ? (['mariadb', 'mysql'] as const) : []),
  ];
}

export async function createTestDatabase(dialect: TestDialect): Promise<TestDatabase> {
  const { options, remove } = await create(dialect);
  const opened: DataSource[] = [];
  return {
    dialect,
    options,
    async open(extra = {}) {
      const dataSource = new DataSource({ ...options, ...extra } as DataSourceOptions);
      opened.push(dataSource);
      return dataSource.initialize();
    },
    async drop() {
      await Promise.all(opened.filter((it) => it.isInitialized).map((it) => it.destroy()));
      await remove();
    },
  };
}

interface Created {
  readonly options: DataSourceOptions;
  remove(): Promise<void>;
}

function create(dialect: TestDialect): Promise<Created> {
  switch (dialect) {
    case 'postgres':
      return createPostgres();
    case 'mariadb':
    case 'mysql':
      return createMariaDb(dialect);
    case 'sqlite':
    case 'sqlite-file':
      return createSqlite(dialect);
  }
}

async function createSqlite(dialect: 'sqlite' | 'sqlite-file'): Promise<Created> {
  const type = 'better-sqlite3';
  if (dialect === 'sqlite') {
    return { options: { type, database: ':memory:' }, remove: () => Promise.resolve() };
  }
  const folder = await mkdtemp(join(tmpdir(), 'idempotency-'));
  return {
    options: { type, database: join(folder, 'test.sqlite'), enableWAL: true },
    remove: () => rm(folder, { recursive: true }),
  };
}

async function createPostgres(): Promise<Created> {
  const database = newName();
  await onPostgres(`CREATE DATABASE ${database}`);
  return {
    options: { type: 'postgres', url: withDatabase(postgresUrl, database) },
    remove: () => onPostgres(`DROP DATABASE ${database} WITH (FORCE)`),
  };
}

async function createMariaDb(type: 'mariadb' | 'mysql'): Promise<Created> {
  const database = newName();
  await onMariaDb(`CREATE DATABASE ${database}`);
  return {
    options: { type, url: withDatabase(mariaDbUrl, database) },
    remove: () => onMariaDb(`DROP DATABASE ${database}`),
  };
}

async function onPostgres(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

async function onMariaDb(sql: string): Promise<void> {
  const connection = await mysql.createConnection(mariaDbUrl);
  await connection.query(sql).finally(() => connection.end());
}

function newName(): string {
  return `idempotency_${randomBytes(6).toString('hex')}`;
}

function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}
