import config, { engineTypes } from './jest.config.js';

/**
 * The unit tests alone, with the coverage of the engine. Collecting it from every test would take twice as long,
 * and what the other tests happen to pass through proves less.
 *
 * @type {import('jest').Config}
 */
export default {
  ...config,
  projects: config.projects.filter(({ displayName }) => displayName === 'unit'),
  collectCoverage: true,
  collectCoverageFrom: ['src/engine/**/*.ts', ...engineTypes],
};
