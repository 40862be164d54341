import { aFunction, boolean, show } from './option-values.js';
import { checkEach, misconfigured } from './options-check.js';

const LARGEST_BATCH = 1_000;

/** Options of `IdempotencyService.executeBatch()` that `execute()` does not have. */
export function checkBatch(
  {
    items,
    key,
    payload,
    each,
    attempts,
  }: { items: unknown; key: unknown; payload?: unknown; each?: unknown; attempts?: unknown },
  work: unknown,
  where: string,
): void {
  if (!Array.isArray(items) || items.length > LARGEST_BATCH) {
    const given = Array.isArray(items) ? `${items.length} items` : show(items);
    throw misconfigured(
      where,
      `option 'items' is ${given}. Write an array of at most ${LARGEST_BATCH}.`,
    );
  }
  if (typeof key !== 'function') {
    throw misconfigured(
      where,
      `option 'key' is ${show(key)}. Write a function that answers an item's key.`,
    );
  }
  checkEach({ payload: aFunction, each: boolean }, { payload, each }, where);
  if (attempts !== undefined && each !== true) {
    throw misconfigured(
      where,
      "option 'attempts' would park every item for one of them that fails. Add each: true, or leave it out.",
    );
  }
  if (typeof work !== 'function') {
    throw misconfigured(where, 'there is nothing to run. Write a function as its second argument.');
  }
}
