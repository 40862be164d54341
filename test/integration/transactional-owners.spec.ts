import 'reflect-metadata';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Logger } from '@nestjs/common';
import { TestGate } from '../support/gate.js';
import { eventually } from '../support/http.js';
import { ledgerPaths, openLedger, type Ledger } from '../support/ledger.js';
import { message } from '../support/owner-process.js';
import { onOwnerStage, type OwnerStage } from '../support/owner-stage.js';

beforeAll(() => Logger.overrideLogger(false));

const shared = ledgerPaths().filter((path) => path !== 'sqlite');

describe.each(shared)('owners in several processes on %s', (path) => {
  const isSqlite = path === 'sqlite-file';
  // some at a time: a case waits for leases and for processes that start
  const onStage = (body: (stage: OwnerStage) => Promise<void>) => () => onOwnerStage(path, body);
  const inProgress = { code: 'IDEMPOTENCY_IN_PROGRESS' };

  if (!isSqlite) {
    it.concurrent(
      'gives the key up when the owner is paused for longer than its lease',
      onStage(async ({ ledger, key, start, run }) => {
        const owner = await start({ lease: '1s' });
        owner.send({ key });
        expect(await message(owner)).toBe('inside');
        owner.kill('SIGSTOP');
        try {
          await expect(run()).rejects.toMatchObject(inProgress);
          expect(await run({ onConcurrent: 'wait', waitTimeout: '15s' })).toBe('mine');
        } finally {
          owner.kill('SIGCONT');
        }
        owner.send({});
        const { error } = (await message(owner)) as { error?: string };
        expect(error).toBeDefined();
        expect(await ledger.committed()).toEqual([`${key}-mine`]);
        owner.send({ key });
        expect(await message(owner)).toEqual({ value: 'mine' });
      }),
    );

    it.concurrent(
      'keeps an owner alive that is busy elsewhere for longer than its lease',
      onStage(async ({ ledger, key, start, run }) => {
        const owner = await start({ lease: '1s' });
        owner.send({ key });
        expect(await message(owner)).toBe('inside');
        const leaseIsOver = performance.now() + 2_500;
        while (performance.now() < leaseIsOver) {
          await expect(run()).rejects.toMatchObject(inProgress);
        }
        owner.send({});
        expect(await message(owner)).toEqual({ value: owner.pid });
        expect(await run()).toBe(owner.pid);
        expect(await ledger.committed()).toEqual([`${key}-1`, `${key}-2`]);
      }),
    );

    it.concurrent(
      'is told within a moment of an owner elsewhere, and holds nothing',
      onStage(async ({ ledger, key, start, run }) => {
        const owner = await start();
        owner.send({ key });
        expect(await message(owner)).toBe('inside');
        const askedAt = performance.now();
        await expect(run()).rejects.toMatchObject(inProgress);
        expect(performance.now() - askedAt).toBeLessThan(1_000);
        expect(await transactionsOf(ledger, path)).toBe(1);
        owner.send({});
        expect(await message(owner)).toEqual({ value: owner.pid });
      }),
    );

    it.concurrent(
      'runs nothing beside an owner that it waits for, and takes over what it undid',
      onStage(async ({ ledger, key, start, run }) => {
        const owner = await start();
        owner.send({ key });
        expect(await message(owner)).toBe('inside');
        await expect(run({ onConcurrent: 'wait', waitTimeout: '200ms' })).rejects.toMatchObject(
          inProgress,
        );
        const waiting = run({ onConcurrent: 'wait', waitTimeout: '10s' });
        owner.send({ fails: true });
        expect(await message(owner)).toEqual({ error: 'told to fail' });
        expect(await waiting).toBe('mine');
        expect(await ledger.committed()).toEqual([`${key}-mine`]);
      }),
    );
  }

  it.concurrent(
    'answers who waits with the outcome of another process',
    onStage(async ({ ledger, key, start, run }) => {
      const owner = await start();
      owner.send({ key });
      expect(await message(owner)).toBe('inside');
      const waiting = run({ onConcurrent: 'wait', waitTimeout: '10s' });
      owner.send({});
      expect(await message(owner)).toEqual({ value: owner.pid });
      expect(await waiting).toBe(owner.pid);
      expect(await ledger.committed()).toEqual([`${key}-1`, `${key}-2`]);
    }),
  );

  it.concurrent(
    'leaves nothing of an owner that dies',
    onStage(async ({ ledger, key, start, run }) => {
      const owner = await start();
      owner.send({ key });
      expect(await message(owner)).toBe('inside');
      const died = once(owner, 'exit');
      owner.kill('SIGKILL');
      await died;
      expect(await run({ onConcurrent: 'wait', waitTimeout: '10s' })).toBe('mine');
      expect(await ledger.committed()).toEqual([`${key}-mine`]);
    }),
  );

  for (const order of [{ exits: true }, undefined]) {
    it.concurrent(
      `parks what ends every process that runs it, however it does (${JSON.stringify(order)})`,
      onStage(async ({ ledger, key, start, run }) => {
        const attempts = { max: 2 };
        const given = { lease: '1s', onConcurrent: 'wait', attempts } as const;
        // each has to wait until the lease of the one before is over
        for (const owner of await Promise.all([start(given), start(given)])) {
          owner.send({ key });
          expect(await message(owner)).toBe('inside');
          const died = once(owner, 'exit');
          if (order === undefined) owner.kill('SIGKILL');
          else owner.send(order);
          await died;
        }
        const next = run({ attempts, onConcurrent: 'wait', waitTimeout: '15s' });
        await expect(next).rejects.toMatchObject({ code: 'IDEMPOTENCY_PARKED' });
        await expect(run({ attempts })).rejects.toMatchObject({ code: 'IDEMPOTENCY_PARKED' });
        expect(await ledger.service.find({ key })).toMatchObject({
          state: 'parked',
          lastError: null,
        });
        expect(await ledger.committed()).toEqual([]);
        await ledger.service.redrive({ key });
        expect(await run({ attempts })).toBe('mine');
      }),
      60_000,
    );
  }

  it.concurrent(
    'lets one of several processes run each key',
    onStage(async ({ ledger, key, start }) => {
      const owners = await Promise.all([1, 2, 3].map(() => start({ onConcurrent: 'wait' })));
      for (let round = 0; round < 5; round += 1) {
        const name = `${key}-${round}`;
        const answers = owners.map((owner) => answer(owner));
        for (const owner of owners) owner.send({ key: name });
        const values = await Promise.all(answers);
        expect(new Set(values).size).toBe(1);
      }
      expect(await ledger.committed()).toHaveLength(10);
    }),
  );
});

describe.each(shared.filter((path) => path !== 'sqlite-file'))('the session on %s', (path) => {
  const settings =
    path === 'postgres'
      ? `SELECT current_setting('idle_in_transaction_session_timeout') AS idle`
      : `SELECT @@SESSION.wait_timeout AS idle, @@SESSION.innodb_lock_wait_timeout AS locks`;

  it('is as before after every outcome', async () => {
    const ledger = await openLedger(path);
    try {
      const before = await ledger.dataSource.query(settings);
      const inside: unknown[] = [];
      const end = (key: string, work: () => Promise<unknown>) =>
        ledger.service
          .execute({ key, lease: '7s', errors: () => 'store' }, async () => {
            inside.push(await ledger.dataSource.query(settings));
            await work();
          })
          .catch(() => undefined);
      for (const [key, work] of Object.entries({
        kept: async () => {},
        failed: () => Promise.reject(new Error('no')),
        swallowed: () => ledger.dataSource.query('SELECT nothing').catch(() => undefined),
        committed: () => ledger.dataSource.query('COMMIT'),
        'rolled back': () => ledger.dataSource.query('ROLLBACK'),
      })) {
        await end(key, work);
        expect([key, await ledger.dataSource.query(settings)]).toEqual([key, before]);
        await end(key, work);
        expect([key, await ledger.dataSource.query(settings)]).toEqual([key, before]);
      }
      expect(inside[0]).not.toEqual(before);
    } finally {
      await ledger.close();
    }
  });
});

describe.each(ledgerPaths())('maxDuration on %s', (path) => {
  it.concurrent('ends the transaction, tells the work, and refuses what comes later', async () => {
    const ledger = await openLedger(path);
    const gate = new TestGate();
    try {
      let late: Promise<unknown> | undefined;
      const options = { key: 'k', lease: '1s', maxDuration: '1s' } as const;
      const running = ledger.service.execute(options, async ({ signal }) => {
        await ledger.entries.insert({ name: 'a' });
        await once(signal, 'abort');
        late = gate.pass().then(() => ledger.entries.insert({ name: 'late' }));
        late.catch(() => undefined);
        await late;
      });
      running.catch(() => undefined);
      await gate.reached;
      // the only connection is free again
      await eventually(async () => (await ledger.entries.count()) === 0, 'it is rolled back');
      gate.open();
      await expect(late).rejects.toMatchObject({ code: 'IDEMPOTENCY_TRANSACTION_BROKEN' });
      await expect(running).rejects.toMatchObject({ code: 'IDEMPOTENCY_TRANSACTION_BROKEN' });
      expect(await ledger.committed()).toEqual([]);
      await ledger.service.execute({ key: 'k' }, async () => {
        await ledger.entries.insert({ name: 'b' });
      });
      expect(await ledger.committed()).toEqual(['b']);
    } finally {
      await ledger.close();
    }
  });

  it.concurrent.each([1, 2])(
    'ends %s nested transactions that wait for what waits for them',
    async (depth) => {
      const ledger = await openLedger(path);
      try {
        const options = { key: 'k', lease: '1s', maxDuration: '1s' } as const;
        const inner = async (level: number): Promise<unknown> => {
          if (level < depth) return ledger.dataSource.transaction(() => inner(level + 1));
          const gate = new TestGate();
          // a query of what is around, which the transaction inside waits for
          const shared = gate.reached.then(() => ledger.entries.count());
          return ledger.dataSource.transaction(async (manager) => {
            await manager.query(`INSERT INTO entry (name) VALUES ('a')`);
            void gate.pass();
            return shared;
          });
        };
        await expect(ledger.service.execute(options, () => inner(1))).rejects.toMatchObject({
          code: 'IDEMPOTENCY_TRANSACTION_BROKEN',
        });
        expect(await ledger.committed()).toEqual([]);
        await ledger.service.execute({ key: 'k' }, async () => {
          await ledger.entries.insert({ name: 'b' });
        });
        expect(await ledger.committed()).toEqual(['b']);
      } finally {
        await ledger.close();
      }
    },
  );

  it.concurrent('keeps what is busy elsewhere alive, in transactions of its own too', async () => {
    const ledger = await openLedger(path);
    try {
      await ledger.service.execute({ key: 'k', lease: '1s' }, () =>
        ledger.dataSource.transaction(async (manager) => {
          await manager.query(`INSERT INTO entry (name) VALUES ('a')`);
          await new Promise((resolve) => setTimeout(resolve, 2_500));
          await manager.query(`INSERT INTO entry (name) VALUES ('b')`);
        }),
      );
      expect(await ledger.committed()).toEqual(['a', 'b']);
    } finally {
      await ledger.close();
    }
  });
});

/** How many connections to this database have a transaction open. */
async function transactionsOf(ledger: Ledger, path: string): Promise<number> {
  const [row] = (await ledger.dataSource.query(
    path === 'postgres'
      ? `SELECT count(*) AS open FROM pg_stat_activity
         WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`
      : `SELECT count(*) AS open FROM information_schema.innodb_trx t
         JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE()`,
  )) as [{ open: unknown }];
  return Number(row.open);
}

/** The outcome of an operation that is let go on as soon as it is inside. */
async function answer(owner: ChildProcess): Promise<unknown> {
  for (;;) {
    const told = await message(owner);
    if (told !== 'inside') return (told as { value: unknown }).value;
    owner.send({});
  }
}
