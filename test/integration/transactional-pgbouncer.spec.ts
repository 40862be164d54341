import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { describeIdempotencyStore } from 'nestjs-idempotency/testing';
import { createTestDatabase } from '../support/databases.js';
import { TestGate } from '../support/gate.js';
import { ledgerPaths, openLedger } from '../support/ledger.js';
import { openSqlStore, type SqlStore } from '../support/model/sql-store.js';
import { hasPgBouncer, startPgBouncer, type PgBouncer } from '../support/pgbouncer.js';
import { transactionalScenarios } from '../support/transactional-scenarios.js';

beforeAll(() => Logger.overrideLogger(false));

const isAvailable = ledgerPaths().includes('postgres') && hasPgBouncer();

if (!isAvailable) {
  it('PgBouncer is not there, and nothing is tested behind it', () => {
    expect(isAvailable).toBe(false);
  });
} else {
  describe('TypeOrmStore behind PgBouncer in transaction pooling', () => {
    let bouncer: PgBouncer;
    let sql: SqlStore;
    beforeAll(async () => {
      bouncer = await startPgBouncer(process.env.TEST_POSTGRES_URL as string);
      const create = async () => {
        const database = await createTestDatabase('postgres');
        const url = bouncer.via((database.options as { url: string }).url);
        return { ...database, open: (extra?: object) => database.open({ url, ...extra }) };
      };
      sql = await openSqlStore({ path: 'postgres', create, options: {} }, 'test clock');
    });
    afterAll(async () => {
      await sql.drop();
      await bouncer.stop();
    });

    describeIdempotencyStore('postgres', async () => {
      await sql.empty();
      return { store: sql.store, advance: sql.advance };
    });
  });

  describe('transactional mode behind PgBouncer in transaction pooling', () => {
    let bouncer: PgBouncer;
    const open = (poolSize = 1) =>
      openLedger('postgres', { poolSize, via: (url) => bouncer.via(url) });

    beforeAll(async () => {
      bouncer = await startPgBouncer(process.env.TEST_POSTGRES_URL as string);
    });
    afterAll(() => bouncer.stop());

    transactionalScenarios(() => open());

    it('keeps two servers apart that share its connections, and loses none of them', async () => {
      const ledger = await open(4);
      const other = await ledger.another();
      try {
        const gate = new TestGate();
        const first = ledger.service.execute({ key: 'k' }, async () => {
          await ledger.entries.insert({ name: 'a' });
          await gate.pass();
          return 'mine';
        });
        await gate.reached;
        const again = other.service.execute({ key: 'k' }, async () => 'theirs');
        await expect(again).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
        gate.open();
        expect(await first).toBe('mine');
        const services = [ledger.service, other.service];
        const answers = await Promise.all(
          Array.from({ length: 40 }, (_, index) =>
            services[index % 2]!.execute(
              { key: `k-${index >> 2}`, onConcurrent: 'wait' },
              async () => index,
            ),
          ),
        );
        expect(new Set(answers).size).toBe(10);
        // whoever gets the connection next finds nothing left of ours
        const [row] = (await ledger.dataSource.query(
          `SELECT current_setting('idle_in_transaction_session_timeout') AS idle,
             (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
              WHERE l.locktype = 'advisory' AND d.datname = current_database()) AS locks`,
        )) as [{ idle: string; locks: string }];
        expect(row).toEqual({ idle: '0', locks: '0' });
      } finally {
        await ledger.close();
      }
    });
  });
}
