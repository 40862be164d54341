import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { availableDialects, createTestDatabase, type TestDatabase } from '../support/databases.js';
import { openStore, request } from '../support/typeorm-stores.js';

const LOW = '0'.repeat(32);
const HIGH = 'f'.repeat(32);

const WAITING = {
  postgres: `SELECT count(*) AS count FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  mariadb: `SELECT count(*) AS count FROM information_schema.innodb_trx
    WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%idempotency_record%'`,
} as const;

const servers = (['postgres', 'mariadb'] as const).filter((dialect) =>
  availableDialects().includes(dialect),
);

/** What two batches that lock each other out would do, one statement at a time. */
describe.each(servers)('a batch of claims over %s', (dialect) => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await createTestDatabase(dialect);
  });
  afterEach(() => database.drop());

  const somebodyWaits = async (dataSource: DataSource): Promise<void> => {
    for (;;) {
      const [row] = await dataSource.query<{ count: unknown }[]>(WAITING[dialect]);
      if (Number(row?.count) > 0) return;
      // MariaDB shows an old list to whoever looks more often than every 100 ms
      await sleep(150);
    }
  };

  it('holds nothing with a higher id while it waits for a lower one', async () => {
    const store = await openStore(database);
    const dataSource = await database.open();
    const uuid = (id: string) => (dialect === 'postgres' ? `'${id}'::uuid` : `X'${id}'`);
    const other = dataSource.createQueryRunner();
    await other.startTransaction();
    const fingerprint = dialect === 'postgres' ? `'\\x00'` : `X'00'`;
    await other.query(`INSERT INTO idempotency_record (id, owner, fingerprint, fence, state,
      attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
      VALUES (${uuid(LOW)}, ${uuid(HIGH)}, ${fingerprint}, 0, 0, 1, 0, 0, 0, 0, 0)`);
    const batch = store.claimMany([request({ id: HIGH }), request({ id: LOW })]);
    await somebodyWaits(dataSource);
    expect((await store.claim(request({ id: HIGH }))).type).toBe('claimed');
    await other.rollbackTransaction();
    await other.release();
    expect((await batch).map(({ type }) => type)).toEqual(['held', 'claimed']);
  });
});
