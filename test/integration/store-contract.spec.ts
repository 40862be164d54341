import { describeSqlStore } from '../support/model/sql-contract.js';
import { partitionedPaths, storePaths } from '../support/typeorm-stores.js';

/** The DataSource types `mysql` and `mariadb` are one driver: once is enough for this many cases. */
const paths = [...storePaths(), ...partitionedPaths()].filter(({ path }) => path !== 'mysql');

/** One per server: here the cases wait in real time. */
const onRealClock = paths.filter(({ path }) =>
  ['sqlite-file', 'postgres', 'mariadb'].includes(path),
);

describe.each(paths)('TypeOrmStore ($path)', (path) => {
  describeSqlStore(path, 'test clock');
});

describe.each(onRealClock)('TypeOrmStore ($path) on the clock of its database', (path) => {
  describeSqlStore(path, 'real clock');
});
