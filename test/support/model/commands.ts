import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import type { ClaimRequest } from '../../../src/engine/store.js';
import { randomId, times } from '../../../src/testing/contract/bench.js';
import { CLAIM_TTL } from './store-model.js';
import type { StoreModel } from './store-model.js';
import {
  claimAgain,
  claimAtOnce,
  claimMany,
  complete,
  keepSteps,
  markUncertain,
  park,
  release,
  resolve,
  startEffect,
} from './steps.js';
import type { RealStore } from './steps.js';

type Step = (model: StoreModel, real: RealStore) => Promise<void>;
type Command = fc.AsyncCommand<StoreModel, RealStore>;

const ids = ['0123456789abcdef', '0123456789abcdee', 'fedcba9876543210'].map((id) => id + id);
const key = fc.constantFrom(...ids);
/** Few and related durations, so that ends coincide with each other and with the clock. */
const duration = fc.constantFrom(1, 100, 200, CLAIM_TTL, 1_000);
/** Few, so that an owner now and then sends the same one again. */
const result = fc.constantFrom(null, new Uint8Array(0), Uint8Array.of(0, 255));
const steps = fc.constantFrom(new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(255, 0));
/** Which of the claims so far: the last one most of the time, any stale one else. */
const pick = fc.oneof(fc.constant(0), fc.nat({ max: 6 }));

export const commands: fc.Arbitrary<Command>[] = [
  fc
    .tuple(key, duration, fc.boolean())
    .map(([id, leaseMs, effectStarted]) =>
      command(
        `claim(${short(id)}, lease ${leaseMs}${effectStarted ? ', effect started' : ''})`,
        (model, real) => claimAtOnce(model, real, [{ ...request(id, leaseMs), effectStarted }]),
      ),
    ),
  fc.tuple(key, duration, fc.integer({ min: 2, max: 6 })).map(([id, leaseMs, owners]) =>
    command(`claim(${short(id)}, lease ${leaseMs}) by ${owners} at once`, (model, real) => {
      return claimAtOnce(
        model,
        real,
        times(owners, () => request(id, leaseMs)),
      );
    }),
  ),
  fc.tuple(fc.array(key, { minLength: 1, maxLength: 4 }), duration).map(([batch, leaseMs]) =>
    command(`claimMany(${batch.map(short).join()}, lease ${leaseMs})`, (model, real) =>
      claimMany(
        model,
        real,
        batch.map((id) => request(id, leaseMs)),
      ),
    ),
  ),
  pick.map((n) => byOwner('claim again', n, claimAgain)),
  fc.tuple(fc.array(pick, { maxLength: 4 }), duration).map(([picks, leaseMs]) =>
    command(`renew(${picks.join()}; ${leaseMs})`, async (model, { store }) => {
      const claims = [...new Set(picks.flatMap((n) => picked(model, n) ?? []))];
      const renewed = await store.renew(claims, leaseMs);
      const owned = claims.filter((claim) => model.owned(claim));
      assert.deepEqual(renewed, new Set(owned.map(({ owner }) => owner)));
      for (const { id } of owned) model.rows.get(id)!.leaseUntil = model.now + leaseMs;
    }),
  ),
  fc.tuple(pick, result, duration).map(([n, body, ttlMs]) =>
    byOwner(`complete(${body && body.length} bytes, ttl ${ttlMs})`, n, (model, real, claim) => {
      return complete(model, real, claim, body, ttlMs);
    }),
  ),
  pick.map((n) => byOwner('release', n, release)),
  pick.map((n) =>
    byOwner('release uncounted', n, (model, real, claim) => release(model, real, claim, false)),
  ),
  fc
    .tuple(pick, result)
    .map(([n, why]) =>
      byOwner(`park(${why && why.length} bytes)`, n, (model, real, claim) =>
        park(model, real, claim, why),
      ),
    ),
  pick.map((n) => byOwner('markUncertain', n, markUncertain)),
  pick.map((n) => byOwner('startEffect', n, startEffect)),
  fc
    .tuple(pick, steps)
    .map(([n, kept]) =>
      byOwner(`keepSteps(${kept.length} bytes)`, n, (model, real, claim) =>
        keepSteps(model, real, claim, kept),
      ),
    ),
  fc
    .tuple(key, fc.option(fc.tuple(result, duration), { nil: 'absent' as const, freq: 1 }))
    .map(([id, verdict]) =>
      command(
        `resolve(${short(id)}, ${verdict === 'absent' ? verdict : 'outcome'})`,
        (model, real) => resolve(model, real, id, verdict),
      ),
    ),
  key.map((id) =>
    command(`forget(${short(id)})`, async (model, { store }) => {
      const row = model.live(id);
      assert.equal(await store.forget(id), row !== undefined && row.state !== 'in-progress');
      if (row?.state !== 'in-progress') model.rows.delete(id);
    }),
  ),
  duration.map((ms) =>
    command(`advance(${ms})`, async (model, real) => {
      await real.advance(ms);
      model.advance(ms);
      assert.equal(await real.store.ping(), model.now);
    }),
  ),
  fc.integer({ min: 1, max: 3 }).map((limit) =>
    command(`deleteExpired(${limit})`, async (model, { store }) => {
      model.deleted(await store.deleteExpired(limit), limit);
    }),
  ),
  key.map((id) =>
    command(`find(${short(id)})`, async (model, { store }) => {
      model.expectRecord(id, await store.find(id));
    }),
  ),
  pick.map((n) =>
    byOwner('crash', n, async (model, _, crashed) => {
      model.claims = model.claims.filter((claim) => claim !== crashed);
    }),
  ),
];

function command(
  name: string,
  step: Step,
  possible?: (model: Readonly<StoreModel>) => boolean,
): Command {
  return {
    check: (model) => possible?.(model) ?? true,
    run: async (model, real) => {
      await step(model, real);
      model.expectList(await real.store.list({ limit: 10 }));
    },
    toString: () => name,
  };
}

function byOwner(
  name: string,
  n: number,
  step: (model: StoreModel, real: RealStore, claim: ClaimRequest) => Promise<void>,
): Command {
  return command(
    `${name} by claim #${n}`,
    (model, real) => step(model, real, picked(model, n)!),
    (model) => picked(model, n) !== undefined,
  );
}

/** Counted from the newest. */
function picked(model: Readonly<StoreModel>, n: number): ClaimRequest | undefined {
  return model.claims.at(-1 - n);
}

function request(id: string, leaseMs: number): ClaimRequest {
  return {
    id,
    owner: randomId(),
    fingerprint: new Uint8Array(randomBytes(17)),
    scope: 'tenant',
    operation: 'POST /model',
    key: id,
    leaseMs,
    ttlMs: CLAIM_TTL,
  };
}

function short(id: string): string {
  return `k${ids.indexOf(id)}`;
}
