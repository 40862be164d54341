import { toMilliseconds } from './engine/duration.js';
import type { AttemptsPolicy } from './engine/operation.js';
import { jittered } from './engine/timing.js';
import type { AttemptsOptions } from './idempotency.options.js';
import { show } from './option-values.js';
import { misconfigured } from './options-check.js';

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 60_000;

/**
 * The option in the words of the engine.
 *
 * `delayMs` throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when a function of the application answers what is
 * no duration.
 */
export function attemptsPolicy(
  options: AttemptsOptions | undefined,
  where: string,
): AttemptsPolicy | undefined {
  if (options === undefined) {
    return undefined;
  }
  const { max, backoff = doubling, onExhausted = 'dead-letter' } = options;
  return {
    max,
    onExhausted,
    delayMs: (attempt) => {
      const delay: unknown = typeof backoff === 'function' ? backoff(attempt) : backoff;
      const ms = delay === 0 ? 0 : toMilliseconds(delay);
      if (ms === undefined) {
        throw misconfigured(
          where,
          `option 'attempts.backoff' answered ${show(delay)}. Answer milliseconds as a number, or text such as '30s'.`,
        );
      }
      return ms;
    },
  };
}

/** Doubles with every attempt, so that a message that fails does not keep everybody busy. */
export function doubling(attempt: number): number {
  const steps = Math.min(Math.max(attempt, 1) - 1, 30);
  return Math.round(jittered(Math.min(FIRST_DELAY_MS * 2 ** steps, LONGEST_DELAY_MS)));
}
