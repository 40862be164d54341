import type { Fresh } from '../../src/engine/batch-runs.js';
import type { Outcome } from '../../src/engine/operation.js';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import { availableDialects, createTestDatabase } from '../support/databases.js';
import { Bench, complete, RELEASE, STORE_TIMEOUT } from '../support/engine/bench.js';
import { ProbeStore } from '../support/engine/probe-store.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const ITEMS = 100;
const servers = (['postgres', 'mariadb'] as const).filter((dialect) =>
  availableDialects().includes(dialect),
);

describe.each(servers)('a batch over a slow %s', (dialect) => {
  it('runs what failed before, although it takes longer than one claim may', async () => {
    const database = await createTestDatabase(dialect);
    const target = new URL((database.options as { url: string }).url);
    const port = Number(target.port) || (dialect === 'postgres' ? 5432 : 3306);
    const proxy = await startTcpProxy({ host: target.hostname, port });
    target.hostname = '127.0.0.1';
    target.port = String(proxy.port);
    const dataSource = await database.open({ url: target.href, synchronize: true });
    const bench = await Bench.started(new ProbeStore(new TypeOrmStore(dataSource)));
    try {
      const operations = Array.from({ length: ITEMS }, (_, n) =>
        bench.operation({ key: `item ${n}`, leaseMs: 60_000 }),
      );
      const run = (end: Outcome) =>
        bench.engine.runBatch(operations, async (fresh: readonly Fresh[]) => {
          bench.runs += fresh.length;
          return fresh.map(() => end);
        });
      await run(RELEASE);
      proxy.slowDown(10);
      const askedAt = performance.now();
      const results = await run(complete('done'));
      expect(performance.now() - askedAt).toBeGreaterThan(STORE_TIMEOUT);
      expect(results).toEqual(operations.map(() => ({ type: 'executed' })));
      expect(bench.runs).toBe(2 * ITEMS);
      expect((await bench.store.find(operations[99]!.id))?.state).toBe('completed');
    } finally {
      bench.engine.stop();
      await database.drop();
      await proxy.close();
    }
  });
});
