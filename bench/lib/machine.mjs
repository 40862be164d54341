import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import mysql from 'mysql2/promise';
import { createClient } from 'redis';
import { mariaDbUrl, onPostgres, redisUrl } from './databases.mjs';

const require = createRequire(import.meta.url);

/** What the figures depend on, for the head of each page. */
export async function machineFacts() {
  const sqlite = new (require('better-sqlite3'))(':memory:');
  const sqliteVersion = sqlite.prepare('SELECT sqlite_version() AS version').get().version;
  sqlite.close();
  return [
    `${availableParallelism()} cores (${cpus()[0].model.trim()})`,
    `Node ${process.versions.node}`,
    `NestJS ${version('@nestjs/core')} on Express`,
    `TypeORM ${version('typeorm')}`,
    `SQLite ${sqliteVersion} (WAL, synchronous NORMAL, as better-sqlite3 has it)`,
    await postgres(),
    await mariaDb(),
    await redis(),
  ].join('; ');
}

function version(name) {
  const manifest = new URL(`../../node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(manifest, 'utf8')).version;
}

async function postgres() {
  const [settings] = await onPostgres(`SELECT current_setting('server_version') AS version,
    current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
    current_setting('autovacuum') AS autovacuum`);
  const { version, fsync, commit, autovacuum } = settings;
  return (
    `PostgreSQL ${version.split(' ')[0]} ` +
    `(fsync ${fsync}, synchronous_commit ${commit}, autovacuum ${autovacuum})`
  );
}

async function mariaDb() {
  const connection = await mysql.createConnection(mariaDbUrl);
  const [[{ version, flush }]] = await connection.query(
    'SELECT version() AS version, @@innodb_flush_log_at_trx_commit AS flush',
  );
  await connection.end();
  return `MariaDB ${version.split('-')[0]} (innodb_flush_log_at_trx_commit ${flush})`;
}

async function redis() {
  const client = createClient({ url: redisUrl });
  await client.connect();
  const version = /redis_version:(\S+)/.exec(await client.info('server'))[1];
  const { appendonly } = await client.configGet('appendonly');
  await client.quit();
  return `Redis ${version} (appendonly ${appendonly})`;
}
