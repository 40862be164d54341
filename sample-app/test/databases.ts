import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import type { DatabaseConfig } from '../src/database/database.options.js';

export interface TestDatabase {
  readonly config: DatabaseConfig;
  /** Of the second service. */
  readonly fulfilment: DatabaseConfig;
  drop(): Promise<void>;
}

const {
  TEST_POSTGRES_URL: postgres = 'postgres://postgres@127.0.0.1:5432/postgres',
  TEST_MARIADB_URL: mariadb = 'mysql://root@127.0.0.1:3306/test',
} = process.env;

/** SQLite always; a server whose address is set to nothing is left out. */
export const databases: readonly (readonly [string, () => Promise<TestDatabase>])[] = [
  ['SQLite', temporaryFile],
  ...(postgres ? [['PostgreSQL', () => onServer('postgres', postgres)] as const] : []),
  ...(mariadb ? [['MariaDB', () => onServer('mysql', mariadb)] as const] : []),
];

async function temporaryFile(): Promise<TestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'orders-'));
  return {
    config: { file: join(folder, 'orders.sqlite') },
    fulfilment: { file: join(folder, 'fulfilment.sqlite') },
    drop: () => rm(folder, { recursive: true }),
  };
}

async function onServer(type: 'postgres' | 'mysql', serverUrl: string): Promise<TestDatabase> {
  const name = `orders_${randomBytes(6).toString('hex')}`;
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const server = await new DataSource({ type, url: serverUrl }).initialize();
  await server.query(`CREATE DATABASE ${name}`);
  return {
    config: { url: url.href },
    fulfilment: { url: url.href },
    async drop() {
      await server.query(`DROP DATABASE ${name}`);
      await server.destroy();
    },
  };
}
