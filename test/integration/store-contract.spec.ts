import { describeIdempotencyStore } from '../../src/testing/index.js';
import { openSqlStore } from '../support/model/sql-store.js';
import type { SqlStore } from '../support/model/sql-store.js';
import { storePaths } from '../support/typeorm-stores.js';

/** One per server: the cases wait in real time. */
const REAL_CLOCKS = ['sqlite-file', 'postgres', 'mariadb'];

describe.each(storePaths())('TypeOrmStore ($path)', (path) => {
  let sql: SqlStore;
  beforeAll(async () => {
    sql = await openSqlStore(path, 'test clock');
  });
  afterAll(() => sql.drop());

  describeIdempotencyStore(path.path, async () => {
    await sql.empty();
    return { store: sql.store, advance: sql.advance };
  });
});

describe.each(storePaths().filter(({ path }) => REAL_CLOCKS.includes(path)))(
  'TypeOrmStore ($path) on the clock of its database',
  (path) => {
    let sql: SqlStore;
    beforeAll(async () => {
      sql = await openSqlStore(path, 'real clock');
    });
    afterAll(() => sql.drop());

    describeIdempotencyStore(path.path, async () => {
      await sql.empty();
      return { store: sql.store };
    });
  },
);
