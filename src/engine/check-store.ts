import type { IdempotencyStore } from './store.js';

/** Throws when the store can not answer, or can not work. */
export async function checkStore(store: IdempotencyStore): Promise<void> {
  await (store.check?.() ?? store.ping());
}
