export { memoryStore } from '../stores/memory/index.js';
export type { MemoryStoreOptions } from '../stores/memory/index.js';
export { crashAt } from './crash-at.js';
export type { CrashPoint } from './crash-points.js';
export { expectEffectOnce } from './effects.js';
export { loseLeases } from './lose-leases.js';
export { describeIdempotencyStore } from './store-contract.js';
export type { StoreUnderTest, TestRunner } from './store-contract.js';
export { duplicateStorm, type Storm } from './storm.js';
