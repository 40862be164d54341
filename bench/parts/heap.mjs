import { createDatabase } from '../lib/databases.mjs';
import { hasReplayCache } from '../lib/features.mjs';
import { table, whole } from '../lib/format.mjs';
import { start } from '../lib/ipc.mjs';
import { startApp } from './support.mjs';

const CLIENTS = 32;
const MIB = 1024 * 1024;

/** One application under mixed requests for a long time, and what its heap holds between them. */
export async function heap({ heapRequests, heapReadings }) {
  const database = await createDatabase('postgres');
  try {
    const hasCache = await hasReplayCache();
    const module = hasCache ? { replayCache: true } : {};
    const config = { guard: 'typeorm', database: database.options, module, work: 'asked' };
    const app = await startApp(config, ['--expose-gc']);
    const generator = await start('load/generator.mjs');
    const rows = [];
    for (let reading = 0; reading <= heapReadings; reading += 1) {
      // the first is the warm-up: code is compiled, pools and caches are filled
      const requests = heapRequests / heapReadings;
      const { statuses } = await generator.ask('mixed', {
        port: app.port,
        clients: CLIENTS,
        requests,
      });
      const failed = Object.keys(statuses).filter((status) => status >= 500);
      const { most } = await app.ask('effects');
      if (failed.length > 0 || most > 1) {
        throw new Error(`A key had ${most} effects; the answers were ${JSON.stringify(statuses)}.`);
      }
      rows.push([whole((reading + 1) * requests), (await app.ask('heapBytes')) / MIB]);
    }
    await Promise.all([app.stop(), generator.stop()]);
    return page(rows, hasCache);
  } finally {
    await database.drop();
  }
}

function page(rows, hasCache) {
  const [first, last] = [rows[0][1], rows.at(-1)[1]];
  const cells = rows.map(([requests, mib]) => [requests, mib.toFixed(1)]);
  return `# The heap under a long load

PostgreSQL${hasCache ? ' with `replayCache: true`' : ''}, ${CLIENTS} clients, mixed requests (six of ten with new keys, three replays, one new key
sent twice at once) through one process. The heap after a forced collection, in MiB; the first reading is after a warm-up.
A million requests: \`node bench/run.mjs heap --heapRequests 1000000\`.

From the first reading to the last it changed by **${(last - first).toFixed(1)} MiB**, ${(((last - first) * MIB) / (rows.length - 1)).toFixed(0)} bytes a reading.

${table(['Requests so far', 'heap, MiB'], cells)}
`;
}
