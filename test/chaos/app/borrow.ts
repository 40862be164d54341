import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';

/** A connection that nobody has is there within so long, in milliseconds. */
const PATIENCE_MS = 3_000;

/** Borrows connections, as many as the pool has, and tells how many there were: one that leaked is missing. */
export async function borrow(dataSource: DataSource, wanted: number): Promise<number> {
  const runners = Array.from({ length: wanted }, () => dataSource.createQueryRunner());
  let borrowed = 0;
  const all = runners.map(async (runner) => {
    await runner.connect();
    await runner.query('SELECT 1');
    borrowed += 1;
  });
  const giveUp = new AbortController();
  await Promise.race([
    Promise.allSettled(all),
    sleep(PATIENCE_MS, undefined, { signal: giveUp.signal }).catch(() => undefined),
  ]);
  giveUp.abort();
  // one that is still waited for would hang here as well, and the process is at its end
  void Promise.allSettled(runners.map((runner) => runner.release()));
  return borrowed;
}
