import { jittered, pause } from './timing.js';

/** Serialization failures and deadlocks: this often a transaction is begun. */
export const MOST_RUNS = 4;
const PAUSE_MS = 20;

/** Longer after each, so that those who met do not meet again. */
export function pauseAfter(runs: number): Promise<void> {
  return pause(jittered(PAUSE_MS * runs));
}
