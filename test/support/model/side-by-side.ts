import { describeIdempotencyStore, type StoreUnderTest } from '../../../src/testing/index.js';

interface Case {
  readonly title: string;
  run(): Promise<void>;
}

/**
 * Registers the store contract with some cases at a time, because many of them wait in real time. Each has to be
 * given a store of its own.
 */
export function describeSideBySide(name: string, factory: () => Promise<StoreUnderTest>): void {
  const titles = casesOf(name, factory).map(({ title }) => title);
  it.concurrent.each(titles.map((title, index) => [title, index] as const))('%s', (_title, index) =>
    casesOf(name, factory)[index]!.run(),
  );
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
      cases.push({ title: [...path, title].join(' '), run });
    },
  });
  return cases;
}
