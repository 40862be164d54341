import { expectOneWinner } from '../support/claimers.js';
import type { Claimer } from '../support/typeorm-claimer.js';
import { openStore, partitionedPaths, storePaths } from '../support/typeorm-stores.js';

const shared = [...storePaths(), ...partitionedPaths()].filter(
  ({ path }) => path !== 'sqlite' && path !== 'mysql',
);

describe.each(shared)('TypeOrmStore in several processes on $path', ({ create, options }) => {
  it('lets one claim of each key win, at every turn of the record', async () => {
    const database = await create();
    try {
      const store = await openStore(database, { options });
      const claimer: Claimer = { dataSource: database.options, options };
      await expectOneWinner(store, 'typeorm-claimer', claimer);
    } finally {
      await database.drop();
    }
  }, 120_000);
});
