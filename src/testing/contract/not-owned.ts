import type { Claim } from '../../engine/store.js';
import { bytes, randomId } from './bench.js';
import type { Bench } from './bench.js';

/** Each answers a claim that owns nothing (any more). */
export const notOwned: Record<string, (bench: Bench) => Promise<Claim>> = {
  'there is no record': async () => ({ id: randomId(), owner: randomId() }),
  'another owns the claim': async (bench) => ({ ...(await bench.claim()), owner: randomId() }),
  'the lease is over': (bench) => bench.abandoned(),
  'the claim was taken over': async (bench) => {
    const stale = await bench.abandoned();
    await bench.claim({ id: stale.id });
    return stale;
  },
  'the one that took over has completed': async (bench) => {
    const stale = await bench.abandoned();
    await bench.complete(await bench.claim({ id: stale.id }), bytes('winner'));
    return stale;
  },
  'it was released': (bench) => bench.released(),
  'it was released and claimed again': async (bench) => {
    const stale = await bench.released();
    await bench.claim({ id: stale.id });
    return stale;
  },
  'it is uncertain': (bench) => bench.uncertain(),
  'another has completed': async (bench) => ({ ...(await bench.completed()), owner: randomId() }),
  'another’s outcome is a tombstone': async (bench) => ({
    ...(await bench.completed(null)),
    owner: randomId(),
  }),
  'its outcome was forgotten': async (bench) => {
    const claim = await bench.completed();
    await bench.store.forget(claim.id);
    return claim;
  },
};
