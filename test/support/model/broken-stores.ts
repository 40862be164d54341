import { setImmediate } from 'node:timers/promises';
import type { Claim, IdempotencyStore, StoredRecord } from '../../../src/engine/store.js';
import { ForwardingStore } from '../../../src/stores/forwarding.store.js';

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

  'the second of two with one id in a batch wins too': (sound) =>
    broken(sound, {
      claimMany: async (requests) => {
        const ids = new Map<string, number>(requests.map(({ id }, n) => [id, n]));
        const answers = await sound.claimMany(requests);
        return requests
          .map(({ id }, n) => answers[Math.min(n, ids.get(id) ?? n)]!)
          .map((answer) =>
            answer.type === 'held' && answer.record.state === 'in-progress'
              ? (answers.find(({ type }) => type === 'claimed') ?? answer)
              : answer,
          );
      },
    }),

  'park does not compare the owner': (sound) =>
    broken(sound, {
      park: async (claim, result) => sound.park(await liveClaim(sound, claim), result),
    }),

  'a parked record forgets why': (sound) =>
    broken(sound, { park: (claim) => sound.park(claim, null) }),

  'a parked record is claimed again': (sound) =>
    broken(sound, { park: (claim) => sound.release(claim) }),

  'a redriven record goes on counting': (sound) => {
    const extra = new Map<string, number>();
    return broken(sound, {
      resolve: async (id, verdict, owner) => {
        const record = await sound.find(id);
        const resolved = await sound.resolve(id, verdict, owner);
        if (resolved && record?.state === 'parked' && verdict === 'absent') {
          extra.set(id, record.attemptsStarted);
        }
        return resolved;
      },
      claim: async (request) => {
        const answer = await sound.claim(request);
        const more = extra.get(request.id) ?? 0;
        return answer.type === 'claimed' ? { ...answer, attempt: answer.attempt + more } : answer;
      },
    });
  },

  'every release counts': (sound) => broken(sound, { release: (claim) => sound.release(claim) }),

  'keepSteps does not compare the owner': (sound) =>
    broken(sound, {
      keepSteps: async (claim, steps) => sound.keepSteps(await liveClaim(sound, claim), steps),
    }),

  'steps are lost with the attempt that kept them': (sound) =>
    broken(sound, {
      claim: async (request) => {
        const again = (await sound.find(request.id))?.owner === request.owner;
        const answer = await sound.claim(request);
        return answer.type === 'claimed' && !again ? { ...answer, steps: null } : answer;
      },
    }),

  'steps outlive the outcome': (sound) => {
    const kept = new Map<string, Uint8Array>();
    return broken(sound, {
      keepSteps: async (claim, steps) => {
        const answer = await sound.keepSteps(claim, steps);
        if (answer.applied) kept.set(claim.id, steps);
        return answer;
      },
      claim: async (request) => {
        const answer = await sound.claim(request);
        return answer.type === 'claimed'
          ? { ...answer, steps: kept.get(request.id) ?? null }
          : answer;
      },
    });
  },

  'startEffect does not compare the owner': (sound) =>
    broken(sound, {
      startEffect: async (claim) => sound.startEffect(await liveClaim(sound, claim)),
    }),

  'a started effect dies with its lease': (sound) =>
    broken(sound, {
      startEffect: async (claim) => {
        const record = await sound.find(claim.id);
        const isOurs = record?.state === 'in-progress' && record.owner === claim.owner;
        return isOurs ? { applied: true } : { applied: false, record };
      },
    }),

  'a claim does not start its effect': (sound) =>
    broken(sound, { claim: (request) => sound.claim({ ...request, effectStarted: false }) }),

  'a started effect is uncertain at once': (sound) =>
    broken(sound, { startEffect: (claim) => sound.markUncertain(claim) }),

  'the owner of a lapsed effect is not heard any more': (sound) =>
    broken(sound, {
      complete: async (request) => {
        const record = await sound.find(request.id);
        return record?.state === 'uncertain' ? { applied: false, record } : sound.complete(request);
      },
    }),

  'the owner of an uncertain record is heard as if its effect had lapsed': (sound) =>
    broken(sound, {
      release: async (claim) => {
        const record = await sound.find(claim.id);
        if (record?.state !== 'uncertain' || record.owner !== claim.owner) {
          return sound.release(claim);
        }
        await sound.resolve(claim.id, 'absent');
        return { applied: true };
      },
    }),
};

function broken(sound: IdempotencyStore, bug: Partial<IdempotencyStore>): IdempotencyStore {
  return Object.assign(new ForwardingStore(sound), bug);
}

/** The claim of whoever owns the record now: what a write without an owner check writes to. */
async function liveClaim(store: IdempotencyStore, claim: Claim): Promise<Claim> {
  const record = await store.find(claim.id);
  return { id: claim.id, owner: record?.owner ?? claim.owner };
}
