/** The engine holds the promise: nothing in it goes untested. */
const engineCoverage = { lines: 100, branches: 100, functions: 100, statements: 100 };

/** Files that compile to nothing, which v8 would report as never run. */
export const engineTypes = [
  '!src/engine/engine-options.ts',
  '!src/engine/outgoing.ts',
  '!src/engine/store-transactions.ts',
];
const otherTypes = [
  '!src/idempotency.options.ts',
  '!src/idempotent.metadata.ts',
  '!src/idempotent.options.ts',
  '!src/methods/method-options.ts',
];

/** @type {import('jest').Config} */
const shared = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '@swc/jest' },
  moduleNameMapper: {
    '^nestjs-idempotency$': '<rootDir>/src/index.ts',
    '^nestjs-idempotency/typeorm$': '<rootDir>/src/stores/typeorm/index.ts',
    '^nestjs-idempotency/redis$': '<rootDir>/src/stores/redis/index.ts',
    '^nestjs-idempotency/outbox$': '<rootDir>/src/outbox/index.ts',
    '^nestjs-idempotency/bullmq$': '<rootDir>/src/bullmq/index.ts',
    '^nestjs-idempotency/openapi$': '<rootDir>/src/openapi/index.ts',
    '^nestjs-idempotency/telemetry$': '<rootDir>/src/telemetry/index.ts',
    '^nestjs-idempotency/terminus$': '<rootDir>/src/terminus/index.ts',
    '^nestjs-idempotency/client$': '<rootDir>/src/client/index.ts',
    '^nestjs-idempotency/client/messages$': '<rootDir>/src/client/messages/index.ts',
    '^nestjs-idempotency/dashboard$': '<rootDir>/src/dashboard/index.ts',
    '^nestjs-idempotency/testing$': '<rootDir>/src/testing/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/sample-app/dist'],
};

/** Jest runs the one setup file once per run, whichever of these projects are selected. */
const withDatabases = {
  ...shared,
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
};

/** @type {import('jest').Config} */
export default {
  // Projects have none of their own: Jest reads it here only.
  testTimeout: 30_000,
  // Every spec file loads Nest anew, so a worker's heap grows; a fresh worker is cheaper than swapping.
  maxWorkers: 2,
  // Of those that are `concurrent`, in each worker: they wait, and what they start needs the processors too.
  maxConcurrency: 3,
  // Jest reads it here only; in a project it has no effect.
  workerIdleMemoryLimit: '512MB',
  testSequencer: '<rootDir>/test/support/longest-first.mjs',
  reporters: ['default', '<rootDir>/test/support/reporter.mjs'],
  // The babel provider counts the helpers that decorators compile to as branches of ours.
  coverageProvider: 'v8',
  coverageReporters: ['text', 'lcov'],
  collectCoverageFrom: ['src/**/*.ts', '!src/**/*.spec.ts', '!src/**/index.ts']
    .concat(engineTypes)
    .concat(otherTypes),
  coverageThreshold: { './src/engine/': engineCoverage },
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/src/**/*.spec.ts', '<rootDir>/test/unit/**/*.spec.ts'],
    },
    {
      ...withDatabases,
      displayName: 'integration',
      testMatch: ['<rootDir>/test/integration/**/*.spec.ts'],
    },
    {
      ...withDatabases,
      displayName: 'e2e',
      testMatch: ['<rootDir>/test/e2e/**/*.e2e-spec.ts'],
    },
    {
      ...withDatabases,
      displayName: 'sample-app',
      testMatch: ['<rootDir>/sample-app/test/**/*.e2e-spec.ts'],
    },
  ],
};
