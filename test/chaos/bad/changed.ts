import type { IdempotencyStore } from '../../../src/index.js';

/** A sound store with some of its operations replaced. */
export function changed(
  sound: IdempotencyStore,
  operations: Partial<IdempotencyStore>,
): IdempotencyStore {
  return new Proxy(sound, {
    get(target, name: keyof IdempotencyStore) {
      const own = operations[name] ?? target[name];
      return typeof own === 'function' ? own.bind(target) : own;
    },
  });
}
