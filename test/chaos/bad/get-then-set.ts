import type { ClaimRequest, IdempotencyStore } from '../../../src/index.js';
import { changed } from './changed.js';

/** Looks whether there is an outcome, runs, and saves the outcome: what a cache in front of a handler does. */
export function getThenSet(sound: IdempotencyStore): IdempotencyStore {
  const requests = new Map<string, ClaimRequest>();
  let runs = 0n;
  return changed(sound, {
    claim: async (request) => {
      const record = await sound.find(request.id);
      const now = Date.now();
      if (record !== null) {
        return { type: 'held', record, now };
      }
      requests.set(request.owner, request);
      runs += 1n;
      return { type: 'claimed', fence: runs, attempt: 1, takenOver: false, now };
    },
    renew: async (claims) => new Set(claims.map(({ owner }) => owner)),
    release: async () => ({ applied: true }),
    complete: async (request) => {
      const claim = await sound.claim(requests.get(request.owner) as ClaimRequest);
      const owner = claim.type === 'held' ? claim.record.owner : request.owner;
      return sound.complete({ ...request, owner });
    },
  });
}
