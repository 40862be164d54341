import { checkStore } from '../support/model/check-store.js';
import { openSqlStore } from '../support/model/sql-store.js';
import type { SqlStore } from '../support/model/sql-store.js';
import { storePaths } from '../support/typeorm-stores.js';

describe.each(storePaths())('TypeOrmStore ($path)', (path) => {
  let sql: SqlStore;
  beforeAll(async () => {
    sql = await openSqlStore(path, 'test clock');
  });
  afterAll(() => sql.drop());

  it('behaves like the model in every history', async () => {
    const create = async () => {
      await sql.empty();
      return sql;
    };
    await checkStore(create, { numRuns: 400 });
  }, 400_000);
});
