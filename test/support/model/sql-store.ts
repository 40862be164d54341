import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { IdempotencyStore } from '../../../src/engine/store.js';
import type { Path } from '../typeorm-stores.js';

export interface SqlStore {
  readonly store: IdempotencyStore;
  /** Removes every record and starts the clock anew; fences go on. */
  empty(): Promise<void>;
  advance(ms: number): Promise<void>;
  drop(): Promise<void>;
}

const START = 1_700_000_000_000;

/** A store in a database of its own, whose clock is a table when it is to stand still. */
export async function openSqlStore(
  { create, options }: Path,
  clock: 'test clock' | 'real clock',
): Promise<SqlStore> {
  const database = await create();
  const dataSource = await database.open({ synchronize: true });
  await dataSource.query('CREATE TABLE test_clock (ms BIGINT NOT NULL)');
  await dataSource.query(`INSERT INTO test_clock VALUES (${START})`);
  const store = new TypeOrmStore(dataSource, {
    ...options,
    ...(clock === 'test clock' && { clock: '(SELECT ms FROM test_clock)' }),
  });
  await store.init();
  return {
    store,
    async empty() {
      await dataSource.query('DELETE FROM idempotency_record');
      await dataSource.query(`UPDATE test_clock SET ms = ${START}`);
    },
    async advance(ms) {
      await dataSource.query(`UPDATE test_clock SET ms = ms + ${ms}`);
    },
    drop: () => database.drop(),
  };
}
