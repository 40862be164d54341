export { clearFailpoints, setFailpoint, type Failpoint } from '../engine/failpoints.js';
export { memoryStore } from '../stores/memory/index.js';
export type { MemoryStoreOptions } from '../stores/memory/index.js';
export { expectEffectOnce } from './effects.js';
export { describeIdempotencyStore } from './store-contract.js';
export type { StoreUnderTest, TestRunner } from './store-contract.js';
export { duplicateStorm, type Storm } from './storm.js';
