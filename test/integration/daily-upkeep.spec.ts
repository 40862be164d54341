import { setTimeout as pause } from 'node:timers/promises';
import type { Claim } from '../../src/engine/store.js';
import { firstIdOf } from '../../src/stores/typeorm/daily-partitions.js';
import { DailyTable, idOf } from '../support/daily-table.js';
import { claimed, request, token } from '../support/typeorm-stores.js';

const describeDaily = DailyTable.path === undefined ? describe.skip : describe;
const WEEK = [0, 1, 2, 3, 4, 5, 6, 7];

describeDaily('upkeep of daily partitions', () => {
  let daily: DailyTable;

  beforeEach(async () => {
    daily = await DailyTable.open();
  });
  afterEach(() => daily.database.drop());

  /** Records of the first day, all of them over two days later. */
  async function pastDay(rows = 3): Promise<string[]> {
    const ids = Array.from({ length: rows }, () => idOf(daily.today));
    for (const id of ids) await daily.complete(id);
    await daily.advance(2);
    return ids;
  }

  const first = (): string => daily.name(daily.today);

  it('finds what the migration has made, and makes partitions a week ahead', async () => {
    expect(await daily.days()).toEqual(WEEK);
    expect(await daily.store.maintain()).toEqual({ deleted: 0 });
    expect(await daily.days()).toEqual(WEEK);
    await daily.advance(1);
    await claimed(daily.store, { id: idOf(daily.today), leaseMs: 3e9, ttlMs: 3e9 });
    await daily.store.maintain();
    expect(await daily.days()).toEqual([...WEEK, 8]);
    await daily.complete(idOf(daily.today + 8));
    expect(await daily.count(daily.name(daily.today + 8))).toBe(1);
    const [leaf] = await daily.dataSource.query<{ settings: string; indexes: number }[]>(
      `SELECT reloptions[1] AS settings, (SELECT count(*)::int FROM pg_index WHERE indrelid = c.oid) AS indexes
       FROM pg_class c WHERE relname = '${daily.name(daily.today + 8)}'`,
    );
    expect(leaf).toEqual({ settings: 'fillfactor=80', indexes: 2 });
  });

  it('drops a day when it is over, and nothing else', async () => {
    const today = await claimed(daily.store, { id: idOf(daily.today + 2) });
    const undated = await claimed(daily.store, { id: idOf(0), leaseMs: 3e9, ttlMs: 3e9 });
    await pastDay();
    await daily.store.renew([today], 3_600_000);
    expect(await daily.store.deleteExpired(100)).toBe(0);
    expect(await daily.store.countRecords({ state: 'expired' }, 10)).toBe(0);
    expect(await daily.store.maintain()).toEqual({ deleted: 3 });
    expect(await daily.days()).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await daily.count()).toBe(2);
    expect(await daily.store.find(undated.id)).not.toBeNull();
  });

  it('never drops today or a day to come, whatever is over in them', async () => {
    for (const day of [0, 1]) {
      const claim = await claimed(daily.store, { id: idOf(daily.today + day), ttlMs: 1 });
      await daily.store.complete({ ...claim, result: null, ttlMs: 1 });
    }
    await daily.advance(0.01);
    expect(await daily.store.maintain()).toEqual({ deleted: 0 });
    expect(await daily.count()).toBe(2);
    expect(await daily.days()).toEqual(WEEK);
  });

  it('runs a key of a dropped day once more, and deletes it in batches then', async () => {
    const [id] = await pastDay();
    await daily.store.maintain();
    const again = await claimed(daily.store, { id: id! });
    expect(again).toMatchObject({ attempt: 1, takenOver: false });
    expect(await daily.count('idempotency_record_default')).toBe(1);
    await daily.store.complete({ ...again, result: null, ttlMs: 1_000 });
    await daily.advance(0.1);
    expect(await daily.store.countRecords({ state: 'expired' }, 10)).toBe(1);
    expect(await daily.store.deleteExpired(100)).toBe(1);
  });

  it.each<[string, (claim: Claim) => Promise<unknown>]>([
    ['is uncertain', (claim) => daily.store.markUncertain(claim)],
    ['is parked', (claim) => daily.store.park(claim, null)],
    ['has a lease', (claim) => daily.store.renew([claim], 3e9)],
    ['has an outcome', (claim) => daily.store.complete({ ...claim, result: null, ttlMs: 3e9 })],
    ['counts as started', (claim) => daily.store.startEffect(claim)],
    [
      'has steps and may be tried again',
      async ({ id }) => {
        // claimed anew, for longer
        await daily.advance(0.1);
        const claim = await claimed(daily.store, { id, ttlMs: 3e9 });
        await daily.store.keepSteps(claim, new Uint8Array([1]));
        await daily.store.release(claim);
      },
    ],
  ])('keeps a day with a record that %s, until it is over', async (_, keep) => {
    const id = idOf(daily.today);
    await keep(await claimed(daily.store, { id, ttlMs: 1_000 }));
    await pastDay();
    const [row] = await daily.dataSource.query<object[]>(
      `SELECT * FROM idempotency_record WHERE id = '${id}'`,
    );
    // the second time it is known which one it is
    for (let turn = 0; turn < 2; turn++) {
      expect(await daily.store.maintain()).toEqual({ deleted: 0 });
    }
    expect(await daily.days()).toContain(0);
    expect(
      await daily.dataSource.query(`SELECT * FROM idempotency_record WHERE id = '${id}'`),
    ).toEqual([row]);
    expect(await daily.count()).toBe(4);
    await daily.dataSource.query(
      `UPDATE idempotency_record SET state = 3, expires_at = 1 WHERE id = '${id}'`,
    );
    expect(await daily.store.maintain()).toEqual({ deleted: 4 });
    expect(await daily.days()).not.toContain(0);
  });

  it('deletes in batches what has waited for its day for two days', async () => {
    const uncertain = await claimed(daily.store, { id: idOf(daily.today) });
    await daily.store.markUncertain(uncertain);
    await pastDay();
    expect(await daily.store.maintain()).toEqual({ deleted: 0 });
    expect(await daily.store.deleteExpired(100)).toBe(0);
    await daily.advance(0.1);
    expect(await daily.store.countRecords({ state: 'expired' }, 10)).toBe(3);
    expect(await daily.store.deleteExpired(2)).toBe(2);
    expect(await daily.store.deleteExpired(2)).toBe(1);
    expect(await daily.count()).toBe(1);
    expect(await daily.store.find(uncertain.id)).not.toBeNull();
  });

  it('sees what comes to life between its look and its lock', async () => {
    const [id] = await pastDay();
    const claim = request({ id: id! });
    const begun = await daily.store.transactions.begin(claim, () => undefined);
    if (begun.type !== 'claimed') throw new Error(`expected to win, met ${begun.type}`);
    const turn = daily.store.maintain();
    await until(isWaitingFor(first()));
    await begun.transaction.complete({ ...claim, result: null, ttlMs: 3e9 });
    await begun.transaction.commit();
    expect(await turn).toEqual({ deleted: 0 });
    expect(await daily.store.find(id!)).toMatchObject({ state: 'tombstone' });
    expect(await daily.count()).toBe(3);
  });

  it('leaves a day to another turn that somebody is at, and holds nobody up for long', async () => {
    await pastDay();
    const runner = daily.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query(`LOCK TABLE ONLY ${first()} IN ACCESS SHARE MODE`);
    expect(await daily.store.maintain()).toEqual({ deleted: 0 });
    expect(await daily.count()).toBe(3);
    await runner.rollbackTransaction();
    await runner.release();
    expect(await daily.store.maintain()).toEqual({ deleted: 3 });
  });

  it('takes the rows away while others use the table, and drops what is empty when they do not', async () => {
    await pastDay();
    const begun = await daily.store.transactions.begin(
      request({ id: idOf(daily.today + 2) }),
      () => undefined,
    );
    if (begun.type !== 'claimed') throw new Error('expected to win');
    expect(await daily.store.maintain()).toEqual({ deleted: 3 });
    expect(await daily.days()).toContain(0);
    expect(await daily.count()).toBe(0);
    await begun.transaction.rollback();
    expect(await daily.store.maintain()).toEqual({ deleted: 0 });
    expect(await daily.days()).not.toContain(0);
  });

  it('makes no partition for a day that has rows already, until they are gone', async () => {
    const early = await claimed(daily.store, { id: idOf(daily.today + 8), ttlMs: 1_000 });
    await daily.store.complete({ ...early, result: null, ttlMs: 1_000 });
    await daily.advance(1);
    await daily.store.maintain();
    expect(await daily.days()).not.toContain(8);
    expect(await daily.store.deleteExpired(10)).toBe(1);
    await daily.store.maintain();
    expect(await daily.days()).toContain(8);
  });

  it.each<[string, (id: string) => Promise<{ type: string }>]>([
    ['claim', (id) => daily.store.claim(request({ id }))],
    [
      'claim among others',
      async (id) => (await daily.store.claimMany([request({ id }), request()]))[0]!,
    ],
    [
      'transaction',
      async (id) => {
        const begun = await daily.store.transactions.begin(request({ id }), () => undefined);
        if (begun.type === 'claimed') await begun.transaction.commit();
        return begun;
      },
    ],
  ])('does not get in the way of a %s whose partition it makes', async (_, claim) => {
    const day = daily.today + 8;
    const runner = daily.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query(
      `CREATE TABLE ${daily.name(day)} (LIKE idempotency_record);
       ALTER TABLE idempotency_record ATTACH PARTITION ${daily.name(day)}
       FOR VALUES FROM ('${firstIdOf(day)}') TO ('${firstIdOf(day + 1)}')`,
    );
    const claiming = claim(idOf(day));
    await until(isWaitingFor('idempotency_record_default'));
    await runner.commitTransaction();
    await runner.release();
    expect(await claiming).toMatchObject({ type: 'claimed' });
    expect(await daily.count(daily.name(day))).toBe(1);
  });

  it('is done by one of several instances', async () => {
    await pastDay();
    const stores = [daily.store, await daily.anotherStore(), await daily.anotherStore()];
    const done = await Promise.all(stores.map((store) => store.maintain()));
    expect(done.reduce((sum, { deleted }) => sum + deleted, 0)).toBe(3);
    for (const { warning } of done) expect(warning).toBeUndefined();
    await daily.store.maintain();
    expect(await daily.days()).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('goes on in batches, two days late, where it may not drop tables, and says so', async () => {
    const role = `daily_${token()}`;
    await daily.dataSource.query(`CREATE ROLE ${role}`);
    try {
      await daily.dataSource.query(
        `GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_record, test_clock TO ${role};
         GRANT USAGE ON idempotency_record_fence TO ${role}; GRANT SELECT ON idempotency_record_fence TO ${role}`,
      );
      const store = await daily.anotherStore({ extra: { options: `-c role=${role}` } });
      await pastDay();
      const { deleted, warning } = await store.maintain();
      expect(deleted).toBe(0);
      expect(warning).toMatch(
        /^The idempotency store is not allowed to .* "idempotency_record": .* two days late\. Let /,
      );
      expect(await store.deleteExpired(10)).toBe(0);
      await daily.advance(0.1);
      expect(await store.deleteExpired(10)).toBe(3);
      expect(await daily.days()).toEqual(WEEK);
    } finally {
      await daily.dataSource.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  function isWaitingFor(table: string): () => Promise<boolean> {
    return async () => {
      const rows = await daily.dataSource.query<object[]>(
        `SELECT 1 FROM pg_locks WHERE relation = '${table}'::regclass AND NOT granted`,
      );
      return rows.length > 0;
    };
  }
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await pause(5);
}
