import { listFilter } from '../../list-options.js';
import { recordView } from '../../record-view.js';
import type { RecordState } from '../../engine/store.js';
import { usageOf } from '../failures.js';
import { table } from '../print.js';
import type { Session } from '../session.js';

const COLUMNS = ['id', 'state', 'operation', 'scope', 'key', 'attempts', 'claimed', 'until'];

export async function list(session: Session): Promise<void> {
  const { state, scope, limit, after } = session.values;
  const filter = usageOf(() =>
    listFilter(
      {
        ...(state !== undefined && { state: state as RecordState }),
        ...(scope !== undefined && { scope }),
        ...(limit !== undefined && { limit: Number(limit) }),
        ...(after !== undefined && { after }),
      },
      'list',
    ),
  );
  const store = await session.store();
  const records = (await store.list(filter)).map(recordView);
  const rows = records.map((record) => [
    record.id,
    record.state,
    record.operation,
    record.scope,
    record.key,
    record.attemptsStarted,
    record.claimedAt,
    record.leaseUntil ?? record.expiresAt,
  ]);
  session.answer(records, table(COLUMNS, rows));
  const last = records.at(-1);
  if (last !== undefined && records.length === filter.limit) {
    session.note(`There may be more: --after ${last.id}`);
  }
}
