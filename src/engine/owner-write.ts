import type { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { claimRequest, type Operation } from './operation.js';
import type { Claim, ClaimResult, SettleResult } from './store.js';
import { within } from './timing.js';

const RESCUES = 3;

/**
 * One write by the owner of a claim. A lease that ran out without a successor is claimed anew, and the write
 * repeated: the work is done, and a record of it is better than a second run.
 */
export async function writeAsOwner(
  write: () => Promise<SettleResult>,
  claim: () => Promise<unknown>,
): Promise<SettleResult> {
  for (let rescues = 0; rescues <= RESCUES; rescues += 1) {
    const settled = await write();
    if (settled.applied || settled.record !== null) {
      return settled;
    }
    await claim();
  }
  throw new Error('The claim was over again each time before the attempt could be recorded.');
}

/** The same claim by the same owner, once more. */
export function claimAnew(
  { store, mask }: EngineOptions,
  operation: Operation,
  { owner, effectBegun }: Attempt,
): Promise<ClaimResult> {
  const request = claimRequest(operation, owner, mask);
  return store.claim(effectBegun ? { ...request, effectStarted: true } : request);
}

/**
 * Gives back a claim that nothing will run for, as if it had never been made. Never throws: at worst its lease
 * ends by itself.
 *
 * @param asked the claim may be made yet, until this is answered
 */
export async function giveBack(
  { store, storeTimeoutMs }: EngineOptions,
  { id, owner }: Claim,
  asked?: Promise<unknown>,
): Promise<void> {
  const release = async (): Promise<void> => {
    try {
      await within(storeTimeoutMs, store.release({ id, owner }, false));
    } catch {
      // away
    }
  };
  let isAnswered = asked === undefined;
  const answered = Promise.allSettled([asked]).then(() => (isAnswered = true));
  await within(storeTimeoutMs, answered).catch(() => undefined);
  await release();
  if (!isAnswered) {
    await answered;
    await release();
  }
}
