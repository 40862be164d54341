import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { IdempotencyStore } from '../../../src/engine/store.js';
import type { Path } from '../typeorm-stores.js';

export interface SqlStore {
  readonly store: IdempotencyStore;
  /** Removes every record. Clock and fences go on. */
  empty(): Promise<void>;
  advance(ms: number): Promise<void>;
  drop(): Promise<void>;
}

/** A store in a database of its own, whose clock is a table when it is to stand still. */
export async function openSqlStore(
  { path, create, options }: Path,
  clock: 'test clock' | 'real clock',
): Promise<SqlStore> {
  const database = await create();
  const dataSource = await database.open({
    synchronize: true,
    // Nothing here has to survive a crash.
    ...(path === 'postgres' && { extra: { options: '-c synchronous_commit=off' } }),
  });
  await dataSource.query('CREATE TABLE test_clock (ms BIGINT NOT NULL)');
  await dataSource.query('INSERT INTO test_clock VALUES (1700000000000)');
  const store = new TypeOrmStore(dataSource, {
    ...options,
    ...(clock === 'test clock' && { clock: '(SELECT ms FROM test_clock)' }),
  });
  await store.init();
  return {
    store,
    async empty() {
      await dataSource.query('DELETE FROM idempotency_record');
    },
    async advance(ms) {
      await dataSource.query(`UPDATE test_clock SET ms = ms + ${ms}`);
    },
    drop: () => database.drop(),
  };
}
