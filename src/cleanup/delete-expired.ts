import { failpoint } from '../engine/failpoints.js';
import type { IdempotencyStore } from '../engine/store.js';
import { pause, within } from '../engine/timing.js';

const DEFAULT_BATCH_SIZE = 1_000;

/** Longer than the longest piece of it may take. */
const UPKEEP_TIMEOUT_MS = 600_000;

interface Turn {
  readonly batchSize?: number | undefined;
  readonly storeTimeoutMs: number;
  readonly signal: AbortSignal;
  /** Told what keeps the store from deleting many records at a time. */
  readonly warn: (sentence: string) => void;
}

/**
 * Deletes every expired record, many at a time where the store can and the others in batches, until there is none
 * or `signal` says stop. Answers how many.
 */
export async function deleteExpired(store: IdempotencyStore, turn: Turn): Promise<number> {
  let deleted = 0;
  try {
    deleted += await maintain(store, turn);
  } finally {
    deleted += await deleteInBatches(store, turn);
  }
  return deleted;
}

async function maintain(store: IdempotencyStore, { warn }: Turn): Promise<number> {
  if (store.maintain === undefined) return 0;
  const { deleted, warning } = await within(UPKEEP_TIMEOUT_MS, store.maintain());
  if (warning !== undefined) warn(warning);
  return deleted;
}

async function deleteInBatches(
  store: IdempotencyStore,
  { batchSize = DEFAULT_BATCH_SIZE, storeTimeoutMs, signal }: Turn,
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
