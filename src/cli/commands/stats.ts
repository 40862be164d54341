import { RECORD_STATES, type IdempotencyStore } from '../../engine/store.js';
import { fields } from '../print.js';
import { tableOptions, type Session } from '../session.js';
import { tableSize } from '../table-size.js';

const ALL = Number.MAX_SAFE_INTEGER;
const PAGE = 1_000;

export async function stats(session: Session): Promise<void> {
  const store = await session.store();
  const counts: [string, number][] = [];
  for (const state of [...RECORD_STATES, 'expired'] as const) {
    counts.push([state, await store.countRecords({ state }, ALL)]);
  }
  const oldest = await oldestInProgress(store);
  const size = await tableSize(session.dataSource, store.name, tableOptions(session.values));
  session.answer(
    { store: store.name, records: Object.fromEntries(counts), oldestInProgress: oldest, size },
    fields([
      ['store', store.name],
      ...counts,
      ['oldest in progress', oldest],
      ['table bytes', size?.tableBytes],
      ['index bytes', size?.indexBytes],
    ]),
  );
}

/** Since when the attempt runs that has been at it for longest. */
async function oldestInProgress(store: IdempotencyStore): Promise<Date | null> {
  let oldest = Infinity;
  let after: string | undefined;
  do {
    const page = await store.list({
      state: 'in-progress',
      limit: PAGE,
      ...(after !== undefined && { after }),
    });
    oldest = Math.min(oldest, ...page.map(({ claimedAt }) => claimedAt));
    after = page.length === PAGE ? page.at(-1)?.id : undefined;
  } while (after !== undefined);
  return Number.isFinite(oldest) ? new Date(oldest) : null;
}
