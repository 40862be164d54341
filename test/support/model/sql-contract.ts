import type { IdempotencyStore } from '../../../src/engine/store.js';
import { describeIdempotencyStore } from '../../../src/testing/index.js';
import type { Path } from '../typeorm-stores.js';
import { openSqlStore, type SqlStore } from './sql-store.js';

/** Registers the store contract for one database. On its real clock cases wait. */
export function describeSqlStore(
  path: Path,
  clock: 'test clock' | 'real clock',
  dressed: (store: IdempotencyStore) => IdempotencyStore = (store) => store,
): void {
  let sql: SqlStore;
  beforeAll(async () => {
    sql = await openSqlStore(path, clock);
  });
  afterAll(() => sql.drop());

  describeIdempotencyStore(path.path, async () => {
    await sql.empty();
    const store = dressed(sql.store);
    return clock === 'test clock' ? { store, advance: sql.advance } : { store };
  });
}
