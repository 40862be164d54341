import { setTimeout as sleep } from 'node:timers/promises';
import { IdempotencyError } from '../../engine/errors.js';
import type { DatabaseErrors } from './dialects/database-errors.js';
import { driverError } from './errors.js';

/**
 * Statements that deadlocked, and claims that lost a race, are sent again for so long and at least
 * so often: on a busy pool a single attempt may have waited longer than that for its connection.
 */
const RETRY_MS = 5_000;
const RETRIES = 5;

export class LostRace extends Error {
  override readonly message = 'lost every race for the record';
}

/** Sends statements again when others were in the way, and throws what `unavailable` makes of the driver's last word. */
export async function persistently<T>(
  errors: Pick<DatabaseErrors, 'isTransient'>,
  work: () => Promise<T>,
  unavailable: (error: unknown) => IdempotencyError,
): Promise<T> {
  const started = performance.now();
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof IdempotencyError) throw error;
      const passing = error instanceof LostRace || errors.isTransient(driverError(error));
      if (!passing || (attempt > RETRIES && performance.now() - started > RETRY_MS)) {
        throw unavailable(error);
      }
    }
    await sleep(Math.random() * Math.min(2 * attempt, 30));
  }
}
