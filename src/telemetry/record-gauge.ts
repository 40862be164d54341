import { metrics } from '@opentelemetry/api';
import type { IdempotencyStore } from '../engine/store.js';
import { Counts } from '../waiting-counts.js';
import { SCOPE, STATE } from './names.js';

/** More are told as so many: a database may read its whole table for them. */
const MOST_COUNTED = 10_000;
/** A scrape is not kept waiting: it gets the counts of before, or none. */
const PATIENCE_MS = 2_000;

/** Tells how many records wait for somebody. The store is asked at most once a minute, however often metrics are read. */
export function observeRecords(store: IdempotencyStore): void {
  const counts = new Counts((state, limit) => store.countRecords({ state }, limit));
  metrics
    .getMeter(SCOPE)
    .createObservableGauge('idempotency.records', {
      description: 'Records that wait for somebody, or for clean-up.',
      unit: '{record}',
    })
    .addCallback(async (gauge) => {
      // a store that does not answer is told of by its failed calls
      const counted = await counts.within(PATIENCE_MS, MOST_COUNTED).catch(() => undefined);
      for (const [state, count] of Object.entries({ ...counted })) {
        gauge.observe(count, { [STATE]: state });
      }
    });
}
