import type { ClaimRequest, IdempotencyStore } from '../../../src/index.js';
import { changed } from './changed.js';

/** Looks whether there is an outcome, runs, and saves the outcome: what a cache in front of a handler does. */
export function getThenSet(sound: IdempotencyStore): IdempotencyStore {
  const requests = new Map<string, ClaimRequest>();
  return changed(sound, {
    claim: async (request) => {
      const record = await sound.find(request.id);
      const now = Date.now();
      if (record !== null) {
        return { type: 'held', record, now };
      }
      requests.set(request.owner, request);
      const fence = BigInt(`0x${request.owner.slice(0, 15)}`);
      return { type: 'claimed', fence, attempt: 1, takenOver: false, steps: null, now };
    },
    renew: async (claims) => new Set(claims.map(({ owner }) => owner)),
    release: async () => ({ applied: true }),
    complete: async (request) => {
      await sound.forget(request.id);
      await sound.claim(requests.get(request.owner) as ClaimRequest);
      await sound.complete(request);
      return { applied: true };
    },
  });
}
