import { describeIdempotencyStore } from '../../src/testing/index.js';
import { openSqlStore } from '../support/model/sql-store.js';
import type { SqlStore } from '../support/model/sql-store.js';
import { partitionedPaths, storePaths } from '../support/typeorm-stores.js';

/** The DataSource types `mysql` and `mariadb` are one driver: once is enough for this many cases. */
const paths = [...storePaths(), ...partitionedPaths()].filter(({ path }) => path !== 'mysql');

/** One per server: here the cases wait in real time. */
const onRealClock = paths.filter(({ path }) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(path),
);

describe.each(paths)('TypeOrmStore ($path)', (path) => {
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

describe.each(onRealClock)('TypeOrmStore ($path) on the clock of its database', (path) => {
  let sql: SqlStore;
  beforeAll(async () => {
    sql = await openSqlStore(path, 'real clock');
  });
  afterAll(() => sql.drop());

  describeIdempotencyStore(path.path, async () => {
    await sql.empty();
    return { store: sql.store };
  });
});
