import {
  Bench,
  pass,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
} from '../support/engine/bench.js';
import { fails, hangs, late } from '../support/engine/probe-store.js';
import { transactionalBench } from '../support/engine/transactional-store.js';

useFakeTime();

describe('a key', () => {
  it('runs once and replays from then on, with two statements and one', async () => {
    const bench = await Bench.started();
    expect(await bench.run('first')).toBe('executed');
    expect(bench.store.history).toBe('init claim complete');
    expect(await bench.run('second')).toBe('replayed first');
    expect(bench.store.history).toBe('init claim complete claim');
    expect(bench.runs).toBe(1);
    expect(bench.events).toEqual([
      { hook: 'onExecuted', attempt: 1, stored: true },
      { hook: 'onReplayed' },
    ]);
  });

  it('runs once for fifty requests at the same time', async () => {
    const bench = await Bench.started();
    const answers = await Promise.all(Array.from({ length: 50 }, () => bench.run('only')));
    expect(bench.runs).toBe(1);
    expect(answers.filter((text) => text === 'executed')).toHaveLength(1);
    expect(answers.filter((text) => text === 'IN_PROGRESS')).toHaveLength(49);
    expect(await bench.run('later')).toBe('replayed only');
  });

  it('runs again after its outcome has expired', async () => {
    const bench = await Bench.started();
    await bench.run('first', { ttlMs: 1_000 });
    await pass(999);
    expect(await bench.run('second')).toBe('replayed first');
    await pass(1);
    expect(await bench.run('second')).toBe('executed');
    expect(bench.told).toEqual(['onExecuted', 'onReplayed', 'onExecuted']);
  });

  it('runs again after it was given back, as the next attempt and with a higher fence', async () => {
    const bench = await Bench.started();
    const first = await bench.begin();
    first.end(RELEASE);
    expect(await first.answer).toBe('executed');
    const second = await bench.begin();
    expect(second.attempt.attempt).toBe(2);
    expect(second.attempt.fence).toBeGreaterThan(first.attempt.fence);
    expect(second.attempt.owner).not.toBe(first.attempt.owner);
    expect(second.attempt.derive('charge')).toBe(first.attempt.derive('charge'));
    expect(second.attempt.derive('charge')).not.toBe(first.attempt.derive('mail'));
    second.end('done');
    await second.answer;
    expect(bench.events).toEqual([
      { hook: 'onReleased', attempt: 1 },
      { hook: 'onExecuted', attempt: 2, stored: true },
    ]);
  });

  it('is taken over when the lease of a dead attempt is over, and not before', async () => {
    const bench = await Bench.started();
    const dead = bench.work(async () => {
      throw new Error('the process died');
    });
    expect(await dead).toBe('error: the process died');
    await pass(5_999);
    expect(await bench.run()).toBe('IN_PROGRESS');
    await pass(1);
    expect(await bench.run('second')).toBe('executed');
    expect(bench.events).toEqual([
      { hook: 'onRejected', code: 'IDEMPOTENCY_IN_PROGRESS' },
      { hook: 'onTakenOver', attempt: 2 },
      { hook: 'onExecuted', attempt: 2, stored: true },
    ]);
  });

  it('hands the work its key and scope', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin({ key: 'abc' });
    expect(attempt).toMatchObject({ key: 'abc', scope: 'alice', attempt: 1 });
    expect(attempt.signal.aborted).toBe(false);
    end('done');
    await answer;
  });
});

describe('a key that has no answer to give', () => {
  it('is refused with another fingerprint, in flight and later, and the first answer survives', async () => {
    const bench = await Bench.started();
    const first = await bench.begin({ payload: 1 });
    expect(await bench.run('x', { payload: 2 })).toBe('KEY_REUSED');
    expect(await bench.run('x', { payload: 2, onConcurrent: 'wait' })).toBe('KEY_REUSED');
    first.end('one');
    await first.answer;
    expect(await bench.run('x', { payload: 2 })).toBe('KEY_REUSED');
    expect(await bench.run('x', { payload: 1 })).toBe('replayed one');
    expect(bench.runs).toBe(1);
  });

  it.each([
    [UNCERTAIN, 'OUTCOME_UNCERTAIN', { hook: 'onUncertain', attempt: 1 }],
    [TOMBSTONE, 'RESULT_UNAVAILABLE', { hook: 'onExecuted', attempt: 1, stored: false }],
  ])('after %j answers %s', async (outcome, code, event) => {
    const bench = await Bench.started();
    expect(await bench.run(outcome)).toBe('executed');
    expect(await bench.run('again')).toBe(code);
    expect(await bench.run('again', { onConcurrent: 'wait' })).toBe(code);
    expect(bench.runs).toBe(1);
    expect(bench.events[0]).toEqual(event);
  });

  it('never expires by itself when it is uncertain', async () => {
    const bench = await Bench.started();
    await bench.run(UNCERTAIN, { ttlMs: 1_000 });
    await pass(1_000_000);
    expect(await bench.run('again')).toBe('OUTCOME_UNCERTAIN');
  });

  it('is not read when its fingerprint is of another version', async () => {
    const bench = await Bench.started();
    const fingerprint = Uint8Array.from(bench.operation().fingerprint);
    fingerprint[0] = 2;
    await bench.claimedElsewhere(1_000, fingerprint);
    expect(await bench.run()).toBe('RECORD_UNREADABLE');
    expect(bench.runs).toBe(0);
  });

  it.each([
    ['as long as the attempt has been running', 2_500, 3],
    ['a second at least', 0, 1],
    ['no longer than its lease lasts', 5_500, 1],
  ])('says when to try again: %s', async (_, passed, seconds) => {
    const bench = await Bench.started();
    await bench.claimedElsewhere(6_000);
    await pass(passed);
    await expect(bench.engine.run(bench.operation(), async () => RELEASE)).rejects.toMatchObject({
      code: 'IDEMPOTENCY_IN_PROGRESS',
      retryAfterSeconds: seconds,
    });
  });
});

describe('a key that says when it was made', () => {
  const old = '017f22e2-79b0-7cc3-98c4-dc0c0c07398f'; // 2022-02-22
  const fresh = `018bcfe5-6800-7000-8000-000000000000`; // 1_700_000_000_000

  it('is refused when it is older than outcomes are kept, and the claim is given back', async () => {
    const bench = await Bench.started();
    expect(await bench.run('x', { key: old })).toBe('KEY_EXPIRED');
    expect(bench.runs).toBe(0);
    expect(bench.store.history).toBe('init claim release');
    expect(bench.events).toEqual([{ hook: 'onRejected', code: 'IDEMPOTENCY_KEY_EXPIRED' }]);
  });

  it('runs as long as outcomes of its time are kept, by the clock of the store', async () => {
    const bench = await Bench.started();
    bench.skew = 86_400_000;
    expect(await bench.run('x', { key: fresh })).toBe('executed');
    bench.skew += 86_400_000;
    expect(await bench.run('x', { key: fresh })).toBe('KEY_EXPIRED');
  });

  it('replays while its outcome is kept, however old it is', async () => {
    const bench = await Bench.started();
    await bench.run('one', { key: old, expiredKeys: 'rerun' });
    expect(await bench.run('two', { key: old })).toBe('replayed one');
  });

  it.each([
    ['fails', fails],
    ['hangs', hangs],
  ])('is refused, and never run unprotected, when giving back %s', async (_, fault) => {
    const bench = await Bench.started();
    bench.store.breakDown(fault, 'release');
    const answer = bench.run('x', { key: old, onStoreFailure: 'open' });
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('KEY_EXPIRED');
    expect(bench.runs).toBe(0);
  });
});

describe('a claim whose reply comes late', () => {
  it('is asked for again when its lease was over by then: nobody runs on a claim of the past', async () => {
    const bench = await Bench.started();
    // longer than the lease, shorter than the store's time
    bench.store.plan('claim', late(600));
    const answer = bench.run('done', { leaseMs: 500 });
    await pass(599);
    expect(bench.runs).toBe(0);
    await pass(200);
    expect(await answer).toBe('executed');
    expect(bench.store.count('claim')).toBe(2);
    expect(bench.runs).toBe(1);
  });
});

describe('a key made by a clock that is ahead', () => {
  const at = (ms: number): string => {
    const hex = ms.toString(16).padStart(12, '0');
    return `${hex.slice(0, 8)}-${hex.slice(8)}-7abc-8abc-0123456789ab`;
  };

  it('keeps its outcome until the key itself is old: it is refused then, and never run again', async () => {
    const bench = await Bench.started();
    const ttlMs = 60_000;
    const key = at(Date.now() + 10_000);
    expect(await bench.run('first', { key, ttlMs })).toBe('executed');
    await pass(65_000);
    expect(await bench.run('second', { key, ttlMs })).toBe('replayed first');
    await pass(6_000);
    expect(await bench.run('third', { key, ttlMs })).toBe('KEY_EXPIRED');
    expect(bench.runs).toBe(1);
  });

  it('that is further ahead than outcomes are kept is a key like any other', async () => {
    const bench = await Bench.started();
    const key = at(Date.now() + 10 ** 9);
    expect(await bench.run('first', { key, ttlMs: 1_000 })).toBe('executed');
    await pass(1_001);
    expect(await bench.run('second', { key, ttlMs: 1_000 })).toBe('executed');
  });
});

describe('work that breaks off without an outcome', () => {
  it('keeps its key until the lease is over, and its error reaches the caller as it is', async () => {
    const bench = await Bench.started();
    const bug = new TypeError('a bug of an entry point');
    const broken = bench.engine.run(bench.operation(), async () => {
      throw bug;
    });
    await expect(broken).rejects.toBe(bug);
    expect(bench.told).toEqual([]);
    expect(await bench.run('second')).toBe('IN_PROGRESS');
    await pass(6_000);
    expect(await bench.run('third')).toBe('executed');
  });
});

describe('an outcome that the caller may not see any more', () => {
  it.each(['lease', 'transactional'] as const)('is refused in %s mode', async (mode) => {
    const [bench] = await transactionalBench();
    await bench.run('mine', { mode });
    const replay = (mayReplay: boolean) =>
      bench.engine.run({ ...bench.operation({ mode }), mayReplay: async () => mayReplay }, never);
    await expect(replay(false)).rejects.toMatchObject({ code: 'IDEMPOTENCY_REPLAY_FORBIDDEN' });
    expect(bench.events.at(-1)).toEqual({
      hook: 'onRejected',
      code: 'IDEMPOTENCY_REPLAY_FORBIDDEN',
    });
    expect((await replay(true)).type).toBe('replayed');
    expect(bench.told.at(-1)).toBe('onReplayed');
  });
});

const never = (): never => {
  throw new Error('It ran.');
};
