import type { ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { message, stop } from '../support/claimers.js';
import { startProgram } from '../support/program.js';
import type { DailyAnswer, DailyKey, DailyOwner } from '../support/daily-owner.js';
import { DAY_MS, DailyTable } from '../support/daily-table.js';

const describeDaily = DailyTable.path === undefined ? describe.skip : describe;
const PROCESSES = 3;
const BURSTS = 30;

describeDaily('daily partitions that come and go under several processes', () => {
  it('let each operation happen once, and nobody hears of them', async () => {
    const daily = await DailyTable.open();
    const { dataSource, store, today } = daily;
    const children: ChildProcess[] = [];
    let isOver = false;
    try {
      await dataSource.query('CREATE TABLE effect (key text, process int)');
      const given: DailyOwner = { dataSource: daily.database.options };
      for (let n = 0; n < PROCESSES; n++) {
        children.push(startProgram('daily-owner', given));
      }
      await Promise.all(children.map(message));
      let passed = 0;
      let deleted = 0;
      const upkeep = (async () => {
        while (!isOver) {
          await daily.advance(1);
          passed += 1;
          deleted += (await store.maintain()).deleted;
          deleted += await store.deleteExpired(100);
        }
      })();
      const keys: string[] = [];
      for (let burst = 0; burst < BURSTS; burst++) {
        // a key of a day without a partition keeps it from getting one: not every time
        const asked = keysOf(today + passed, burst % 8 === 0 ? 8 : 7);
        keys.push(...asked.map(({ key }) => key));
        const answers = children.map((child) => message(child) as Promise<DailyAnswer[]>);
        for (const child of children) child.send(asked);
        const heard = await Promise.all(answers);
        for (const one of heard) expect(one.filter(({ error }) => error !== undefined)).toEqual([]);
        for (const one of heard) expect(one).toEqual(heard[0]);
      }
      isOver = true;
      await upkeep;
      const counts = await dataSource.query<{ key: string; n: number }[]>(
        'SELECT key, count(*)::int AS n FROM effect GROUP BY key',
      );
      expect(counts.filter(({ n }) => n !== 1)).toEqual([]);
      expect(counts.map(({ key }) => key).sort()).toEqual(keys.sort());
      // days went, with what was in them
      expect(deleted).toBeGreaterThan(0);
      // a day is put off while a lock is taken (by a vacuum, too), and while a key of it was used a moment ago
      while ((await daily.days()).includes(0)) {
        await daily.advance(1);
        passed += 1;
        await store.maintain();
      }
      expect((await daily.days()).at(-1)).toBeGreaterThan(passed);
    } finally {
      isOver = true;
      await Promise.all(children.map(stop));
      await daily.database.drop();
    }
  }, 60_000);
});

/** Of today, of days before and after it, and of none. */
function keysOf(today: number, ahead: number): DailyKey[] {
  return (['lease', 'transactional'] as const).flatMap((mode) => [
    { key: randomUUID(), mode },
    ...[0, 0, -1, -3, -25, ahead].map((day) => ({ key: uuidV7((today + day) * DAY_MS), mode })),
  ]);
}

function uuidV7(time: number): string {
  const digits = time.toString(16).padStart(12, '0');
  const random = randomBytes(10).toString('hex');
  return `${digits.slice(0, 8)}-${digits.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(8)}`;
}
