import { setImmediate } from 'node:timers/promises';
import type { Claim, IdempotencyStore, StoredRecord } from '../../../src/engine/store.js';

/** Bugs that real libraries shipped, each as a sound store with one operation replaced. */
export const brokenStores: Record<string, (sound: IdempotencyStore) => IdempotencyStore> = {
  'complete does not compare the owner': (sound) =>
    broken(sound, {
      complete: async (request) =>
        sound.complete({ ...request, ...(await liveClaim(sound, request)) }),
    }),

  'release does not compare the owner': (sound) =>
    broken(sound, { release: async (claim) => sound.release(await liveClaim(sound, claim)) }),

  'renew does not compare the owner': (sound) =>
    broken(sound, {
      renew: async (claims, leaseMs) => {
        const live = await Promise.all(claims.map((claim) => liveClaim(sound, claim)));
        await sound.renew(live, leaseMs);
        return new Set(claims.map(({ owner }) => owner));
      },
    }),

  'markUncertain does not compare the owner': (sound) =>
    broken(sound, {
      markUncertain: async (claim) => sound.markUncertain(await liveClaim(sound, claim)),
    }),

  'claim ignores that a lease is over': (sound) => {
    const last = new Map<string, StoredRecord>();
    return broken(sound, {
      claim: async (request) => {
        const dead = last.get(request.id);
        if (dead && !(await sound.find(request.id))) {
          return { type: 'held', record: dead, now: await sound.ping() };
        }
        const answer = await sound.claim(request);
        const record = await sound.find(request.id);
        if (record?.state === 'in-progress') last.set(request.id, record);
        return answer;
      },
    });
  },

  'claim looks first and inserts later': (sound) =>
    broken(sound, {
      claim: async (request) => {
        const absent = (await sound.find(request.id)) === null;
        await setImmediate();
        const answer = await sound.claim(request);
        if (answer.type === 'claimed' || !absent) return answer;
        const { fence, attemptsStarted: attempt } = answer.record;
        return { type: 'claimed', fence, attempt, takenOver: false, steps: null, now: answer.now };
      },
    }),

  'claim takes over without saying so': (sound) =>
    broken(sound, {
      claim: async (request) => {
        const answer = await sound.claim(request);
        return answer.type === 'claimed' ? { ...answer, takenOver: false } : answer;
      },
    }),

  'claim is not recognised when it is sent again': (sound) =>
    broken(sound, {
      claim: async (request) => {
        const record = await sound.find(request.id);
        if (record) return { type: 'held', record, now: await sound.ping() };
        return sound.claim(request);
      },
    }),

  'a claim that is held off prolongs the lease': (sound) =>
    broken(sound, {
      claim: async (request) => {
        const answer = await sound.claim(request);
        if (answer.type === 'held') await sound.renew([answer.record], request.leaseMs);
        return answer;
      },
    }),

  'fences are counted per record': (sound) =>
    broken(sound, {
      claim: async (request) => {
        const answer = await sound.claim(request);
        return answer.type === 'claimed' ? { ...answer, fence: BigInt(answer.attempt) } : answer;
      },
    }),

  'a stale owner is told that its outcome was recorded': (sound) =>
    broken(sound, {
      complete: async (request) => {
        await sound.complete(request);
        return { applied: true };
      },
    }),

  'a stale owner is not told the winner': (sound) =>
    broken(sound, {
      complete: async (request) => {
        const answer = await sound.complete(request);
        return answer.applied ? answer : { applied: false, record: null };
      },
    }),

  'cleanup deletes uncertain records': (sound) =>
    broken(sound, {
      deleteExpired: async (limit) => {
        const deleted = await sound.deleteExpired(limit);
        const uncertain = await sound.list({ state: 'uncertain', limit: 1_000 });
        for (const { id } of uncertain) await sound.forget(id);
        return deleted;
      },
    }),

  'cleanup ignores its limit': (sound) =>
    broken(sound, { deleteExpired: () => sound.deleteExpired(1_000) }),

  'forget removes a live claim': (sound) =>
    broken(sound, {
      forget: async (id) => {
        const record = await sound.find(id);
        if (record) await sound.release(record);
        return (await sound.forget(id)) || record !== null;
      },
    }),

  'resolve alters a record that is not uncertain': (sound) =>
    broken(sound, {
      resolve: async (id, verdict) => {
        const record = await sound.find(id);
        if (record) await sound.markUncertain(record);
        return sound.resolve(id, verdict);
      },
    }),
};

function broken(sound: IdempotencyStore, bug: Partial<IdempotencyStore>): IdempotencyStore {
  const methods: IdempotencyStore = {
    name: sound.name,
    init: () => sound.init(),
    claim: (request) => sound.claim(request),
    renew: (claims, leaseMs) => sound.renew(claims, leaseMs),
    complete: (request) => sound.complete(request),
    release: (claim) => sound.release(claim),
    markUncertain: (claim) => sound.markUncertain(claim),
    startEffect: (claim) => sound.startEffect(claim),
    keepSteps: (claim, steps) => sound.keepSteps(claim, steps),
    resolve: (id, verdict) => sound.resolve(id, verdict),
    find: (id) => sound.find(id),
    list: (filter) => sound.list(filter),
    forget: (id) => sound.forget(id),
    deleteExpired: (limit) => sound.deleteExpired(limit),
    ping: () => sound.ping(),
  };
  return { ...methods, ...bug };
}

/** The claim of whoever owns the record now: what a write without an owner check writes to. */
async function liveClaim(store: IdempotencyStore, claim: Claim): Promise<Claim> {
  const record = await store.find(claim.id);
  return { id: claim.id, owner: record?.owner ?? claim.owner };
}
