/**
 * Begins with the suites that take longest, so that no worker waits for another at the end. Jest knows that only of
 * suites that it has run before, and takes the large files for long in a fresh clone; these are small ones.
 */
import TestSequencer from '@jest/test-sequencer';

/** Those of many processes take turns with those that mostly wait. */
const LONG = [
  'e2e/crash-matrix.',
  'integration/store-contract.',
  'integration/cli.',
  'integration/transactional-owners.',
  'test/lab.',
  'e2e/processes.',
  'integration/redis-contract.',
  'e2e/client-fetch.',
  'integration/redis-cluster.',
  'integration/outbox-relays.',
  'e2e/steps.',
  'e2e/testing-crash.',
  'test/crash.',
  'e2e/dashboard-browser.',
  'integration/outbox.',
  'integration/transactional-outages.',
  'integration/micro-batches.',
];

const rank = ({ path }) => {
  const index = LONG.findIndex((part) => path.includes(`/${part}`));
  return index === -1 ? LONG.length : index;
};

export default class LongestFirst extends TestSequencer {
  sort(tests) {
    return [...super.sort(tests)].sort((one, other) => rank(one) - rank(other));
  }
}
