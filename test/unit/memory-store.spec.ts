import { jest } from '@jest/globals';
import { describeIdempotencyStore, memoryStore } from '../../src/testing/index.js';

describeIdempotencyStore('memoryStore', async () => {
  let now = 1_700_000_000_000;
  return {
    store: memoryStore({ now: () => now }),
    advance: async (ms) => {
      now += ms;
    },
  };
});

describe('memoryStore on the system clock', () => {
  afterEach(() => {
    jest.useRealTimers();
  });

  it('answers epoch milliseconds', async () => {
    jest.useFakeTimers({ now: 1_700_000_000_123 });
    expect(await memoryStore().ping()).toBe(1_700_000_000_123);
  });

  it('does not bring a lease back to life when the clock is set back', async () => {
    jest.useFakeTimers({ now: 1_700_000_000_000 });
    const store = memoryStore();
    const claim = { id: '1'.repeat(32), owner: '2'.repeat(32) };
    const texts = { scope: null, operation: null, key: null };
    await store.claim({
      ...claim,
      ...texts,
      fingerprint: new Uint8Array(1),
      leaseMs: 10,
      ttlMs: 99,
    });
    jest.setSystemTime(1_700_000_000_010);
    expect(await store.find(claim.id)).toBeNull();
    jest.setSystemTime(1_600_000_000_000);
    expect(await store.find(claim.id)).toBeNull();
    expect(await store.ping()).toBe(1_700_000_000_010);
  });

  it('keeps no timer that could hold the process or overflow', async () => {
    jest.useFakeTimers();
    const store = memoryStore();
    const claim = { id: '1'.repeat(32), owner: '2'.repeat(32) };
    const texts = { scope: null, operation: null, key: null };
    const tenYears = 315_360_000_000;
    await store.claim({ ...claim, ...texts, fingerprint: new Uint8Array(1), leaseMs: 1, ttlMs: 1 });
    await store.complete({ ...claim, result: null, ttlMs: tenYears });
    expect(jest.getTimerCount()).toBe(0);
  });
});
