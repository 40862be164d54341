import { CachedStore } from '../../src/stores/cached/cached.store.js';
import type { ClaimRequest } from '../../src/engine/store.js';
import { describeIdempotencyStore, memoryStore } from '../../src/testing/index.js';
import { ProbeStore, losesReply } from '../support/engine/probe-store.js';

const MINUTE = 60_000;
const ROOMY = { maxEntries: 100, maxBytes: 1_000_000, maxAgeMs: MINUTE };
const RESULT = new Uint8Array([1, 2, 3]);

describeIdempotencyStore('a cached store', async () => {
  let now = 1_700_000_000_000;
  return {
    store: new CachedStore(memoryStore({ now: () => now }), ROOMY, () => now),
    advance: async (ms) => {
      now += ms;
    },
  };
});

describe('a cached store', () => {
  let now: number;
  let inner: ProbeStore;
  let store: CachedStore;
  let last = 0;

  function use(limits: Partial<typeof ROOMY> = {}): void {
    now = 1_000;
    inner = new ProbeStore(memoryStore({ now: () => 1_700_000_000_000 + now }));
    store = new CachedStore(inner, { ...ROOMY, ...limits }, () => now);
  }
  beforeEach(() => use());

  function request(given: Partial<ClaimRequest> = {}): ClaimRequest {
    const texts = { scope: null, operation: null, key: null };
    const id = String(++last).padStart(32, '0');
    const owner = String(++last).padStart(32, '0');
    const fingerprint = new Uint8Array(17);
    return { ...texts, id, owner, fingerprint, leaseMs: MINUTE, ttlMs: MINUTE, ...given };
  }

  async function completed(
    result: Uint8Array | null = RESULT,
    ttlMs = 10 * MINUTE,
  ): Promise<string> {
    const { id, owner } = request();
    await store.claim(request({ id, owner }));
    await store.complete({ id, owner, result, ttlMs });
    return id;
  }

  const again = (id: string) => store.claim(request({ id }));
  /** How often the store is asked when the key is presented. */
  async function asks(id: string): Promise<number> {
    const before = inner.count('claim');
    await again(id);
    return inner.count('claim') - before;
  }

  it('answers what it has completed itself without asking', async () => {
    const id = await completed();
    const met = await again(id);
    expect(met).toMatchObject({ type: 'held', record: { state: 'completed', result: RESULT } });
    expect(inner.history).toBe('claim complete');
    expect({ ...met, record: await inner.find(id) }).toEqual(met);
  });

  it('answers what it has met once without asking again', async () => {
    const id = await completed();
    store = new CachedStore(inner, ROOMY, () => now);
    expect(await asks(id)).toBe(1);
    expect(await asks(id)).toBe(0);
    expect({ ...(await again(id)), record: await inner.find(id) }).toEqual(await again(id));
  });

  it('learns nothing of a completion whose reply was lost', async () => {
    inner.plan('complete', losesReply);
    const { id, owner } = request();
    await store.claim(request({ id, owner }));
    const outcome = { id, owner, result: RESULT, ttlMs: MINUTE };
    await expect(store.complete(outcome)).rejects.toThrow('ECONNRESET');
    expect(await asks(id)).toBe(1);
  });

  it('learns nothing of a completion that was not applied', async () => {
    const { id, owner } = request();
    await store.claim(request({ id, owner }));
    now += MINUTE;
    await inner.claim(request({ id }));
    await store.complete({ id, owner, result: RESULT, ttlMs: MINUTE });
    expect(await again(id)).toMatchObject({ record: { state: 'in-progress' } });
  });

  it('asks about a later attempt, of whose record it does not know everything', async () => {
    const { id, owner } = request();
    await store.claim(request({ id, owner }));
    await store.release({ id, owner });
    const second = request({ id });
    await store.claim(second);
    await store.complete({ id, owner: second.owner, result: RESULT, ttlMs: MINUTE });
    expect(await asks(id)).toBe(1);
    expect(await again(id)).toMatchObject({ record: { attemptsStarted: 2, attemptsFinished: 2 } });
  });

  it.each([
    ['a tombstone', () => completed(null)],
    [
      'a claim',
      async () => {
        const claim = request();
        await store.claim(claim);
        return claim.id;
      },
    ],
    [
      'an uncertain record',
      async () => {
        const claim = request();
        await store.claim(claim);
        await store.markUncertain(claim);
        return claim.id;
      },
    ],
  ])('asks every time about %s', async (_, make) => {
    const id = await make();
    expect(await asks(id)).toBe(1);
    expect(await asks(id)).toBe(1);
  });

  it('never answers beyond the expiry, whichever way it learnt of the record', async () => {
    const own = await completed(RESULT, 500);
    now += 499;
    expect(await again(own)).toMatchObject({ type: 'held' });
    now += 1;
    expect(await again(own)).toMatchObject({ type: 'claimed' });

    const other = await completed(RESULT, 500);
    now += 200;
    store = new CachedStore(inner, ROOMY, () => now);
    await again(other);
    now += 299;
    expect(await asks(other)).toBe(0);
    now += 1;
    expect(await again(other)).toMatchObject({ type: 'claimed' });
  });

  it('counts the time that an answer takes as part of its age', async () => {
    const id = await completed(RESULT, 500);
    store = new CachedStore(inner, ROOMY, () => now);
    inner.plan('claim', async (apply) => {
      const answer = await apply();
      now += 400; // the reply is slow
      return answer;
    });
    await again(id);
    now += 100;
    expect(await again(id)).toMatchObject({ type: 'claimed' });
  });

  it('asks again once a record has its age', async () => {
    use({ maxAgeMs: 300 });
    const id = await completed();
    now += 299;
    expect(await asks(id)).toBe(0);
    now += 1;
    expect(await asks(id)).toBe(1);
    expect(await asks(id)).toBe(0);
  });

  it('drops what is forgotten', async () => {
    const id = await completed();
    expect(await store.forget(id)).toBe(true);
    expect(await again(id)).toMatchObject({ type: 'claimed' });
  });

  it('does not bring back what was forgotten while it was read', async () => {
    const id = await completed();
    store = new CachedStore(inner, ROOMY, () => now);
    inner.plan('claim', async (apply) => {
      const answer = await apply();
      await store.forget(id);
      return answer;
    });
    expect(await again(id)).toMatchObject({ type: 'held' });
    expect(await again(id)).toMatchObject({ type: 'claimed' });
  });

  it('drops what is read again while the store forgets it', async () => {
    const id = await completed();
    inner.plan('forget', async (apply) => {
      await again(id); // still there, and kept anew
      return apply();
    });
    await store.forget(id);
    expect(await again(id)).toMatchObject({ type: 'claimed' });
  });

  it('drops what it cannot forget in the store, which may have done it', async () => {
    const id = await completed();
    inner.plan('forget', losesReply);
    await expect(store.forget(id)).rejects.toThrow('ECONNRESET');
    expect(await asks(id)).toBe(1);
  });

  it('keeps as many records as it may, those that were wanted last', async () => {
    use({ maxEntries: 2 });
    const [first, second] = [await completed(), await completed()];
    await again(first);
    const third = await completed();
    expect([await asks(first), await asks(third)]).toEqual([0, 0]);
    expect(await asks(second)).toBe(1);
  });

  it('keeps as many bytes as it may', async () => {
    use({ maxBytes: 10_000 });
    const [first, second] = [
      await completed(new Uint8Array(4_000)),
      await completed(new Uint8Array(4_000)),
    ];
    expect([await asks(second), await asks(first), await asks(second)]).toEqual([0, 1, 1]);
    const large = await completed(new Uint8Array(9_000));
    expect([await asks(large), await asks(large)]).toEqual([1, 1]);
  });

  it('does not hold on to the larger buffer that a result is a part of', async () => {
    const whole = new Uint8Array(100_000);
    const id = await completed(whole.subarray(0, 3));
    whole.fill(9);
    const met = await again(id);
    const result = met.type === 'held' ? met.record.result : null;
    expect(result).toEqual(new Uint8Array(3));
    expect(result?.buffer.byteLength).toBe(3);
  });

  it('answers a batch from memory where it can, in the order asked', async () => {
    const [first, second] = [await completed(), await completed(new Uint8Array([9]))];
    const fresh = request();
    const results = await store.claimMany([request({ id: first }), fresh, request({ id: second })]);
    expect(results).toMatchObject([
      { record: { result: RESULT } },
      { type: 'claimed' },
      { record: { result: new Uint8Array([9]) } },
    ]);
    expect(inner.argumentsOf('claimMany')).toEqual([[[fresh]]]);
    await store.completeMany([{ ...fresh, result: RESULT, ttlMs: MINUTE }]);
    await store.claimMany([request({ id: fresh.id })]);
    expect(inner.count('claimMany')).toBe(1);
    expect(await asks(fresh.id)).toBe(0);
  });
});
