import {
  Bench,
  complete,
  pass,
  recorded,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
} from '../support/engine/bench.js';
import { fails, hangs, losesReply, passes, type Fault } from '../support/engine/probe-store.js';

useFakeTime();

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
    bench.store.breakDown(fails, 'complete', 'ping');
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

  it('is given up when a store that answers refuses it: done, but not kept', async () => {
    const bench = await Bench.started();
    bench.store.plan('complete', ...Array<Fault>(7).fill(fails));
    expect(await bench.run('too large for its packets')).toBe('executed');
    await pass(12_000);
    expect(await bench.run('second')).toBe('RESULT_UNAVAILABLE');
  });

  it('is not given up for what fails while the store comes and goes', async () => {
    const bench = await Bench.started();
    bench.store.plan('complete', ...Array<Fault>(8).fill(fails));
    bench.store.plan('ping', passes, passes, passes, passes, fails);
    expect(await bench.run('mine')).toBe('executed');
    await pass(25_000);
    expect(await bench.run('second')).toBe('replayed mine');
  });

  it('is not given up for what fails while the store answers and cannot work', async () => {
    const bench = await Bench.started();
    let isMigrated = false;
    const check = async (): Promise<void> => {
      if (!isMigrated) throw new Error('no such table');
    };
    Object.assign(bench.store, { check });
    bench.store.plan('complete', ...Array<Fault>(9).fill(fails));
    expect(await bench.run('mine')).toBe('executed');
    await pass(25_000);
    isMigrated = true;
    await pass(25_000);
    expect(await bench.run('second')).toBe('replayed mine');
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

  it('is not the answer of a process that stood still, when another outcome was recorded meanwhile', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.store.plan('complete', async () => {
      attempt.confirmedAt -= attempt.leaseMs;
      bench.skew += attempt.leaseMs;
      const theirs = await bench.claimedElsewhere(60_000);
      await bench.store.complete({ ...theirs, result: recorded('theirs'), ttlMs: 60_000 });
      throw new Error('The store did not answer in time.');
    });
    end('mine');
    expect(await answer).toBe('replayed theirs');
    expect(await bench.run('second')).toBe('replayed theirs');
  });
});
