import type { IdempotencyStore } from '../../../src/engine/store.js';
import { describeIdempotencyStore } from '../../../src/testing/index.js';
import type { Path } from '../typeorm-stores.js';
import { describeSideBySide } from './side-by-side.js';
import { openSqlStore, type SqlStore } from './sql-store.js';

/** Registers the store contract for one database. On its real clock cases wait, some at a time. */
export function describeSqlStore(
  path: Path,
  clock: 'test clock' | 'real clock',
  dressed: (store: IdempotencyStore) => IdempotencyStore = (store) => store,
): void {
  if (clock === 'real clock') describeOnRealClock(path, dressed);
  else describeOnTestClock(path, dressed);
}

function describeOnTestClock(path: Path, dressed: (store: IdempotencyStore) => IdempotencyStore) {
  let sql: SqlStore;
  beforeAll(async () => {
    sql = await openSqlStore(path, 'test clock');
  });
  afterAll(() => sql.drop());

  describeIdempotencyStore(path.path, async () => {
    await sql.empty();
    return { store: dressed(sql.store), advance: sql.advance };
  });
}

function describeOnRealClock(path: Path, dressed: (store: IdempotencyStore) => IdempotencyStore) {
  const all: SqlStore[] = [];
  const free: SqlStore[] = [];
  const open = async (): Promise<SqlStore> => {
    const opened = await openSqlStore(path, 'real clock');
    all.push(opened);
    return opened;
  };
  afterAll(() => Promise.all(all.map((sql) => sql.drop())));

  describeSideBySide(path.path, async () => {
    const sql = free.pop() ?? (await open());
    await sql.empty();
    return { store: dressed(sql.store), close: async () => void free.push(sql) };
  });
}
