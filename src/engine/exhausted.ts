import { inProgress, parked, storeUnavailable } from './answers.js';
import type { EngineOptions } from './engine-options.js';
import { attemptEvent } from './events.js';
import type { Operation } from './operation.js';
import type { Claim } from './store.js';
import { within } from './timing.js';

/** Whether earlier attempts, some of which never said how they ended, have used up all that there may be. */
export function isExhausted(
  { policy: { attempts } }: Operation,
  { attempt }: { readonly attempt: number },
): boolean {
  return attempts !== undefined && attempt > attempts.max;
}

/**
 * Parks what was claimed and will not be run.
 *
 * @throws IdempotencyError `…_PARKED`; `…_IN_PROGRESS` when another attempt has it; `…_STORE_UNAVAILABLE` when that could not be recorded, which leaves it to the
 *   next claim.
 */
export async function parkUnrun(
  { store, storeTimeoutMs, emit }: EngineOptions,
  operation: Operation,
  claim: Claim & { readonly attempt: number },
): Promise<never> {
  const parking = store.park({ id: claim.id, owner: claim.owner }, null);
  const settled = await within(storeTimeoutMs, parking).catch((error: unknown) => {
    throw storeUnavailable(error);
  });
  if (settled.applied) {
    emit('onParked', attemptEvent(operation, claim));
  } else if (settled.record?.state !== 'parked') {
    throw inProgress(); // it was redriven meanwhile, and is somebody else's
  }
  throw parked();
}
