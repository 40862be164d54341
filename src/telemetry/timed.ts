import type { IdempotencyStore } from '../engine/store.js';
import type { Instruments } from './instruments.js';
import { CALL, ERROR_TYPE, STORE } from './names.js';
import { errorType } from './open-run-span.js';

/** Makes a call, and measures how long it takes. */
export type Timed = <T>(call: string, make: () => Promise<T>) => Promise<T>;

export function timer(store: IdempotencyStore, instruments: () => Instruments): Timed {
  return async (call, make) => {
    const startedAt = performance.now();
    const record = (failure: object): void =>
      instruments().store.record((performance.now() - startedAt) / 1_000, {
        [STORE]: store.name,
        [CALL]: call,
        ...failure,
      });
    try {
      const answer = await make();
      record({});
      return answer;
    } catch (error) {
      record({ [ERROR_TYPE]: errorType(error) });
      throw error;
    }
  };
}
