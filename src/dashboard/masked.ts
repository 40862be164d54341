import type { ParkedMessage } from '../outbox/message.js';
import type { IdempotencyRecordView } from '../record-view.js';

const HIDDEN = '…';
const SHOWN = 4;
/** Of a shorter key, its end would be most of it. */
const SHORTEST_WITH_END = 16;

/** A record as the page is given it. */
export type RecordOnPage = Omit<IdempotencyRecordView, 'lastError'> & {
  readonly lastError: { readonly name: string; readonly message?: string } | null;
};

/** Without what may tell of people: of a long key its end is left, to find it again. */
export function maskedRecord(record: IdempotencyRecordView): RecordOnPage {
  const { key, scope, lastError } = record;
  return {
    ...record,
    key: key && (key.length < SHORTEST_WITH_END ? HIDDEN : HIDDEN + key.slice(-SHOWN)),
    scope: scope && HIDDEN,
    lastError: lastError && { name: lastError.name },
  };
}

/** Ids and ordering keys may be the application's own. */
export function maskedMessage(message: ParkedMessage): ParkedMessage {
  return { ...message, id: HIDDEN, orderingKey: message.orderingKey && HIDDEN };
}
