import { describeIdempotencyStore, type StoreUnderTest } from '../../../src/testing/index.js';

interface Case {
  readonly title: string;
  readonly group: string;
  run(): Promise<void>;
}

/** Those in which most cases wait until a lease or an outcome is over. */
const WAITING = [
  'leases and expiry',
  'settling',
  'attempts that are counted',
  'effects that have begun',
];

/**
 * Registers the store contract for a store on a clock that goes by itself: the cases that wait run some at a time, and
 * the others alone, as they measure by that clock. Each has to be given a store of its own.
 */
export function describeSideBySide(name: string, factory: () => Promise<StoreUnderTest>): void {
  for (const [index, { title, group }] of casesOf(name, factory).entries()) {
    const register = WAITING.includes(group) ? it.concurrent : it;
    register(title, () => casesOf(name, factory)[index]!.run());
  }
}

/** All cases, around one variable that holds the store: only one of them can run. */
function casesOf(name: string, factory: () => Promise<StoreUnderTest>): Case[] {
  const cases: Case[] = [];
  const path: string[] = [];
  let before = (): Promise<void> => Promise.resolve();
  let after = before;
  describeIdempotencyStore(name, factory, {
    describe(title, body) {
      path.push(title);
      body();
      path.pop();
    },
    beforeEach: (body) => (before = body),
    afterEach: (body) => (after = body),
    it(title, body) {
      const run = async (): Promise<void> => {
        await before();
        await body().finally(after);
      };
      cases.push({ title: [...path, title].join(' '), group: path.at(-1)!, run });
    },
  });
  return cases;
}
