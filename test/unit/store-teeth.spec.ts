import type { IdempotencyStore } from '../../src/engine/store.js';
import { describeIdempotencyStore, memoryStore } from '../../src/testing/index.js';
import { brokenStores } from '../support/model/broken-stores.js';
import { checkStore } from '../support/model/check-store.js';

type Break = (sound: IdempotencyStore) => IdempotencyStore;

/** Fixed, so that a bug is found today or never. */
const seed = 20_260_101;

describe('the model', () => {
  it.each(Object.entries(brokenStores))('catches that %s', async (_, broken) => {
    const check = checkStore(async () => storeWith(broken), {
      numRuns: 1_000,
      seed,
      endOnFailure: true,
    });
    await expect(check).rejects.toThrow('Property failed');
  });
});

describe('the contract', () => {
  it('passes the sound store', async () => {
    expect(await failures((sound) => sound)).toEqual([]);
  });

  it.each(Object.entries(brokenStores))('catches that %s', async (_, broken) => {
    expect((await failures(broken)).length).toBeGreaterThan(0);
  });
});

function storeWith(broken: Break) {
  let now = 1_700_000_000_000;
  return {
    store: broken(memoryStore({ now: () => now })),
    advance: async (ms: number) => {
      now += ms;
    },
  };
}

/** Runs the contract with a runner of its own and answers the names of the cases that failed. */
async function failures(broken: Break): Promise<string[]> {
  const cases: [string, () => Promise<void>][] = [];
  let setUp = async () => {};
  describeIdempotencyStore('broken', async () => storeWith(broken), {
    describe: (_, body) => body(),
    it: (name, body) => cases.push([name, body]),
    beforeEach: (body) => (setUp = body),
    afterEach: () => {},
  });
  const failed: string[] = [];
  for (const [name, body] of cases) {
    await setUp();
    await body().catch(() => failed.push(name));
  }
  return failed;
}
