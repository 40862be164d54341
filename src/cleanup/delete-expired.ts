import { failpoint } from '../engine/failpoints.js';
import type { IdempotencyStore } from '../engine/store.js';
import { pause, within } from '../engine/timing.js';

const DEFAULT_BATCH_SIZE = 1_000;

/** Deletes every expired record, in batches, until there is none or `signal` says stop. Answers how many. */
export async function deleteExpired(
  store: IdempotencyStore,
  {
    batchSize = DEFAULT_BATCH_SIZE,
    storeTimeoutMs,
    signal,
  }: {
    readonly batchSize?: number | undefined;
    readonly storeTimeoutMs: number;
    readonly signal: AbortSignal;
  },
): Promise<number> {
  let deleted = 0;
  for (;;) {
    await failpoint('cleanup');
    const startedAt = performance.now();
    const batch = await within(storeTimeoutMs, store.deleteExpired(batchSize));
    deleted += batch;
    if (batch < batchSize || signal.aborted) {
      return deleted;
    }
    // as long a rest as the work took, so that requests keep their share of the database
    await pause(performance.now() - startedAt, signal);
  }
}
