import type { IdempotencyContext } from './engine/attempt.js';
import type { ExecuteOptions } from './execute-options.js';

/** Options of `IdempotencyService.executeBatch()`. */
export interface BatchOptions<T> extends Omit<ExecuteOptions, 'key' | 'payload'> {
  /** At most 1,000. */
  readonly items: readonly T[];
  /** The key of an item, 1 to 4,000 characters. Items with one key are one item. */
  readonly key: (item: T, index: number) => string;
  /**
   * What a retry must repeat for this key. Another payload with the same key is an error.
   * @default nothing but the key
   */
  readonly payload?: (item: T, index: number) => unknown;
  /**
   * Whether the work is called for each item by itself, which succeeds or fails alone.
   * @default false
   */
  readonly each?: boolean;
}

/** An item that nobody has processed yet. */
export interface BatchFresh<T> {
  readonly item: T;
  /** In `items`. */
  readonly index: number;
  readonly once: IdempotencyContext;
}

/** Processes items, and answers one result for each in their order. */
export type BatchWork<T, R> = (fresh: readonly BatchFresh<T>[]) => Promise<readonly R[]>;
