import {
  Bench,
  complete,
  isPending,
  pass,
  RELEASE,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
} from '../support/engine/bench.js';
import { fails, type Fault } from '../support/engine/probe-store.js';

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
