import {
  Bench,
  complete,
  isPending,
  pass,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
} from '../support/engine/bench.js';
import { fails, hangs, losesReply, passes, type Fault } from '../support/engine/probe-store.js';

useFakeTime();

/** Another attempt takes the key while the first one, cut off from the store, still runs. */
async function overtaken(options: { payload?: unknown } = {}) {
  const bench = await Bench.started();
  const stale = await bench.begin({ payload: 1 });
  bench.store.breakDown(fails, 'renew');
  await pass(6_000);
  const winner = await bench.begin({ payload: 1, ...options });
  bench.store.heal();
  return { bench, stale, winner };
}

describe('an outcome that cannot be recorded at once', () => {
  it.each<[string, Fault[]]>([
    ['the store refuses', [fails, fails, fails]],
    ['the reply is lost', [losesReply]],
    ['every second reply is lost', [fails, losesReply]],
    ['the store hangs', [hangs]],
  ])('is the answer all the same, and recorded later, when %s', async (_, faults) => {
    const bench = await Bench.started();
    bench.store.plan('complete', ...faults);
    const answer = bench.run('mine');
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('executed');
    await pass(3_000);
    expect(bench.store.count('complete')).toBe(faults.length + 1);
    expect(await bench.run('second')).toBe('replayed mine');
    expect(bench.events).toEqual([
      { hook: 'onRecordingFailed', attempt: 1, final: false },
      { hook: 'onExecuted', attempt: 1, stored: true },
      { hook: 'onReplayed' },
    ]);
  });

  it('keeps its lease meanwhile, also beyond the longest duration of the work', async () => {
    const bench = await Bench.started();
    const { end, answer, attempt } = await bench.begin({ maxDurationMs: 30_000 });
    bench.store.breakDown(fails, 'complete');
    await pass(29_000);
    end('mine');
    expect(await answer).toBe('executed');
    await pass(20_000);
    expect(await bench.run('second')).toBe('IN_PROGRESS');
    expect(attempt.signal.aborted).toBe(false);
    bench.store.heal();
    await pass(6_000);
    expect(await bench.run('second')).toBe('replayed mine');
    const renewals = bench.store.count('renew');
    await pass(60_000);
    expect(bench.store.count('renew')).toBe(renewals);
  });

  it('is asked for less and less often', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'complete');
    await bench.run('mine');
    await pass(50_000);
    const tries = bench.store.count('complete');
    expect(tries).toBeGreaterThan(12);
    expect(tries).toBeLessThan(32);
  });

  it.each([
    ['a result', complete('mine')],
    ['a tombstone', TOMBSTONE],
  ])('ends as uncertain when %s can never be recorded', async (_, outcome) => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'complete');
    expect(await bench.run(outcome)).toBe('executed');
    await pass(66_000);
    expect(await bench.run('second')).toBe('OUTCOME_UNCERTAIN');
    expect(bench.told).toEqual([
      'onRecordingFailed',
      'onRecordingFailed',
      'onUncertain',
      'onRejected',
    ]);
    expect(bench.events[1]).toEqual({ hook: 'onRecordingFailed', attempt: 1, final: true });
  });

  it.each([
    ['uncertain', UNCERTAIN, 'markUncertain'],
    ['given back', RELEASE, 'release'],
  ] as const)('leaves a key to its lease that can never be %s', async (_, outcome, method) => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, method);
    expect(await bench.run(outcome)).toBe('executed');
    await pass(72_000);
    expect(await bench.run('second')).toBe('executed');
    expect(bench.told).toEqual([
      'onRecordingFailed',
      'onRecordingFailed',
      'onTakenOver',
      'onExecuted',
    ]);
  });

  it('disturbs nobody when even the uncertainty cannot be recorded', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'complete', 'markUncertain');
    await bench.run('mine');
    await pass(72_000);
    expect(bench.store.count('markUncertain')).toBe(1);
  });

  it.each([
    ['released', RELEASE, 'release', 'onReleased', 'executed'],
    ['uncertain', UNCERTAIN, 'markUncertain', 'onUncertain', 'OUTCOME_UNCERTAIN'],
  ] as const)(
    'is told as %s when only the reply was lost',
    async (_, outcome, method, hook, next) => {
      const bench = await Bench.started();
      bench.store.plan(method, losesReply);
      await bench.run(outcome);
      await pass(200);
      expect(bench.told).toEqual(['onRecordingFailed', hook]);
      expect(await bench.run('second')).toBe(next);
    },
  );

  it('gives way, silently, to a winner that it meets in the background', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'complete', 'renew', 'claim');
    bench.store.plan('claim', passes);
    expect(await bench.run('mine')).toBe('executed');
    await pass(6_000);
    bench.store.plan('claim', passes);
    const winner = await bench.begin();
    bench.store.heal();
    await pass(6_000);
    winner.end('theirs');
    expect(await winner.answer).toBe('executed');
    expect(bench.told).toEqual(['onRecordingFailed', 'onTakenOver', 'onExecuted']);
    expect(await bench.run('x')).toBe('replayed theirs');
  });
});

describe('an attempt that lost its claim', () => {
  it('answers with the recorded outcome of the winner, and changes nothing', async () => {
    const { bench, stale, winner } = await overtaken();
    winner.end('theirs');
    await winner.answer;
    const recorded = await bench.record;
    stale.end('mine');
    expect(await stale.answer).toBe('replayed theirs');
    expect(await bench.record).toEqual(recorded);
  });

  it.each([
    ['done', 'IN_PROGRESS'],
    [UNCERTAIN, 'IN_PROGRESS'],
    [TOMBSTONE, 'IN_PROGRESS'],
    [RELEASE, 'executed'],
  ])('with %j is told %s while the winner still runs', async (outcome, expected) => {
    const { bench, stale, winner } = await overtaken();
    stale.end(outcome);
    expect(await stale.answer).toBe(expected);
    expect((await bench.record)?.owner).toBe(winner.attempt.owner);
    winner.end('theirs');
    expect(await winner.answer).toBe('executed');
    expect(bench.told.filter((hook) => hook === 'onExecuted')).toHaveLength(1);
  });

  it('asks its client to come back in a second', async () => {
    const bench = await Bench.started();
    let winner: ReturnType<Bench['begin']> | undefined;
    const stale = bench.engine.run(bench.operation(), async () => {
      bench.skew = 6_000;
      winner = bench.begin();
      await winner;
      return complete('mine');
    });
    await expect(stale).rejects.toMatchObject({
      code: 'IDEMPOTENCY_IN_PROGRESS',
      retryAfterSeconds: 1,
    });
    (await winner)?.end('theirs');
    expect(await (await winner)?.answer).toBe('executed');
  });

  it.each([
    [TOMBSTONE, 'done', 'RESULT_UNAVAILABLE'],
    [UNCERTAIN, 'done', 'OUTCOME_UNCERTAIN'],
    [TOMBSTONE, RELEASE, 'executed'],
    [complete('theirs'), RELEASE, 'replayed theirs'],
  ])('after %j of the winner is told, with %j, %s', async (theirs, mine, expected) => {
    const { stale, winner } = await overtaken();
    winner.end(theirs);
    await winner.answer;
    stale.end(mine);
    expect(await stale.answer).toBe(expected);
  });

  it('never gets the outcome of another request', async () => {
    const { stale, winner } = await overtaken({ payload: 2 });
    winner.end('theirs');
    await winner.answer;
    stale.end('mine');
    expect(await stale.answer).toBe('KEY_REUSED');
  });

  it.each([
    ['done', 'replayed done'],
    [TOMBSTONE, 'RESULT_UNAVAILABLE'],
    [UNCERTAIN, 'OUTCOME_UNCERTAIN'],
  ])('records %j all the same when nobody took the key', async (outcome, next) => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.store.breakDown(fails, 'renew');
    await pass(20_000);
    end(outcome);
    expect(await answer).toBe('executed');
    expect(await bench.run('second')).toBe(next);
    expect(bench.store.argumentsOf('claim')[1]).toEqual([
      expect.objectContaining({ owner: attempt.owner, leaseMs: 6_000 }),
    ]);
  });

  it('records its outcome when the winner failed and gave the key back', async () => {
    const { bench, stale, winner } = await overtaken();
    winner.end(RELEASE);
    await winner.answer;
    stale.end('mine');
    expect(await stale.answer).toBe('executed');
    expect(await bench.run('x', { payload: 1 })).toBe('replayed mine');
  });

  it('gives way to a winner that takes the key while it is being rescued', async () => {
    const bench = await Bench.started();
    const { end, answer } = await bench.begin();
    bench.store.breakDown(fails, 'renew');
    await pass(6_000);
    let winner: ReturnType<Bench['begin']> | undefined;
    bench.store.plan('complete', async (apply) => {
      const lost = await apply();
      winner = bench.begin();
      await winner;
      return lost;
    });
    end('mine');
    expect(await answer).toBe('IN_PROGRESS');
    (await winner)?.end('theirs');
    await (
      await winner
    )?.answer;
    expect(await bench.run('x')).toBe('replayed theirs');
  });

  it('keeps its own answer and goes on in the background when its lease ends again and again', async () => {
    const bench = await Bench.started();
    const slow: Fault = async (apply) => {
      bench.skew += 6_000;
      return apply();
    };
    bench.store.plan('complete', slow, slow, slow, slow);
    expect(await bench.run('mine')).toBe('executed');
    expect(bench.store.count('complete')).toBe(4);
    expect(bench.told).toEqual(['onRecordingFailed']);
    await pass(200);
    expect(await bench.run('x')).toBe('replayed mine');
    expect(bench.runs).toBe(1);
  });

  it('has nothing to give back when nobody took the key', async () => {
    const bench = await Bench.started();
    const { end, answer } = await bench.begin();
    bench.store.breakDown(fails, 'renew');
    await pass(6_000);
    end(RELEASE);
    expect(await answer).toBe('executed');
    expect(bench.store.count('claim')).toBe(1);
    expect(bench.told).toEqual(['onReleased']);
    expect(await isPending(bench.run('second'))).toBe(false);
  });
});
