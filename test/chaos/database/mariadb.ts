import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { newHome, run, ServerProcess, type DatabaseServer } from './server.js';

/** What was committed survives the death of the server; that of the machine is not rehearsed here. */
const SETTINGS = [
  '--bind-address=127.0.0.1',
  '--innodb-flush-log-at-trx-commit=2',
  '--innodb-buffer-pool-size=64M',
  '--skip-name-resolve',
];

export async function startMariaDb(): Promise<DatabaseServer> {
  const { folder, port, remove } = await newHome('mariadb');
  const data = join(folder, 'data');
  await run('mariadb-install-db', [
    '--no-defaults',
    `--datadir=${data}`,
    '--skip-test-db',
    '--auth-root-authentication-method=normal',
  ]);
  const url = (through: number): string => `mysql://root@127.0.0.1:${through}/chaos`;
  const server = new ServerProcess(
    '/usr/sbin/mariadbd',
    [
      '--no-defaults',
      `--datadir=${data}`,
      `--port=${port}`,
      `--socket=${join(folder, 'socket')}`,
      `--pid-file=${join(folder, 'pid')}`,
      ...SETTINGS,
    ],
    () => execute(port, 'CREATE DATABASE IF NOT EXISTS chaos'),
  );
  await server.start();
  return {
    port,
    options: (through) => ({ type: 'mariadb', url: url(through), connectTimeout: 1_000 }),
    terminateAll: 'KILL CONNECTION USER root',
    async crash() {
      await server.stop('SIGKILL');
      await server.start();
    },
    async close() {
      await server.close('SIGKILL');
      await remove();
    },
  };
}

async function execute(port: number, sql: string): Promise<void> {
  const connection = await mysql.createConnection({ host: '127.0.0.1', port, user: 'root' });
  connection.on('error', () => undefined);
  await connection.query(sql).finally(() => connection.end());
}
