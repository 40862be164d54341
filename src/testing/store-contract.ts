import { Bench } from './contract/bench.js';
import type { ContractCase, StoreUnderTest } from './contract/bench.js';
import { attemptsCases } from './contract/attempts.cases.js';
import { batchCases } from './contract/batch.cases.js';
import { bytesCases } from './contract/bytes.cases.js';
import { claimCases } from './contract/claim.cases.js';
import { cleanupCases } from './contract/cleanup.cases.js';
import { effectCases } from './contract/effect.cases.js';
import { leaseCases } from './contract/lease.cases.js';
import { lookupCases } from './contract/lookup.cases.js';
import { raceCases } from './contract/race.cases.js';
import { settleCases } from './contract/settle.cases.js';
import { stepsCases } from './contract/steps.cases.js';
import { verdictCases } from './contract/verdict.cases.js';

export type { StoreUnderTest } from './contract/bench.js';

/** The functions of a test runner that the suite needs: Jest's, Vitest's, Mocha's or `node:test`'s. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
  beforeEach(body: () => Promise<void>): unknown;
  afterEach(body: () => Promise<void>): unknown;
}

const groups: Record<string, (test: ContractCase) => void> = {
  claiming: claimCases,
  batches: batchCases,
  'leases and expiry': leaseCases,
  settling: settleCases,
  'attempts that are counted': attemptsCases,
  'steps of attempts': stepsCases,
  'effects that have begun': effectCases,
  'verdicts and forgetting': verdictCases,
  'looking up': lookupCases,
  cleanup: cleanupCases,
  races: raceCases,
  'bytes and texts': bytesCases,
};

/**
 * Registers the test suite that every store must pass. It states the contract of
 * `IdempotencyStore` case by case, and works with any test runner.
 *
 * @param name Names the store in the reports.
 * @param factory Called before every case. Answers an initialised store without records, besides
 *   `advance(ms)` when the store's clock can be moved, and `close()` to clean up after the case.
 *   Without `advance` the suite waits in real time, up to two seconds in a case.
 * @param runner Default: the global `describe`, `it`, `beforeEach` and `afterEach`. With
 *   `node:test`, hand over the module itself.
 * @throws Error when no runner is given and there is no global one.
 */
export function describeIdempotencyStore(
  name: string,
  factory: () => Promise<StoreUnderTest>,
  runner: TestRunner = globalRunner(),
): void {
  runner.describe(`${name} keeps the store contract`, () => {
    let subject: StoreUnderTest | undefined;

    runner.beforeEach(async () => {
      subject = await factory();
    });
    runner.afterEach(async () => {
      await subject?.close?.();
      subject = undefined;
    });

    const test: ContractCase = (title, body) =>
      runner.it(title, async () => {
        if (!subject) throw new Error('The store factory did not answer a store.');
        await body(new Bench(subject));
      });
    for (const [group, cases] of Object.entries(groups)) runner.describe(group, () => cases(test));
  });
}

function globalRunner(): TestRunner {
  const { describe, it, beforeEach, afterEach } = globalThis as unknown as Partial<TestRunner>;
  if (!describe || !it || !beforeEach || !afterEach) {
    throw new Error(
      'Found no global describe, it, beforeEach and afterEach. ' +
        'Hand your test runner to describeIdempotencyStore as its third argument.',
    );
  }
  return { describe, it, beforeEach, afterEach };
}
