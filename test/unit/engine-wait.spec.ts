import {
  Bench,
  complete,
  isPending,
  pass,
  recorded,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
} from '../support/engine/bench.js';
import { fails, hangs } from '../support/engine/probe-store.js';

useFakeTime();

const wait = { onConcurrent: 'wait' } as const;

describe('waiting for an attempt of the same process', () => {
  it('ends as soon as there is an outcome, without a poll', async () => {
    const bench = await Bench.started();
    const owner = await bench.begin();
    const waiting = bench.run('second', wait);
    expect(await isPending(waiting)).toBe(true);
    owner.end('first');
    expect(await waiting).toBe('replayed first');
    expect(bench.store.count('find')).toBe(0);
    expect(bench.runs).toBe(1);
  });

  it.each([
    [UNCERTAIN, 'OUTCOME_UNCERTAIN'],
    [TOMBSTONE, 'RESULT_UNAVAILABLE'],
  ])('tells of %j', async (outcome, code) => {
    const bench = await Bench.started();
    const owner = await bench.begin();
    const waiting = bench.run('second', wait);
    await isPending(waiting);
    owner.end(outcome);
    expect(await waiting).toBe(code);
  });

  it('lets exactly one of many run when the owner gave the key back', async () => {
    const bench = await Bench.started();
    const owner = await bench.begin();
    const waiting = Array.from({ length: 20 }, () => bench.run('second', wait));
    await pass(0);
    owner.end(RELEASE);
    const answers = await Promise.all(waiting);
    expect(bench.runs).toBe(2);
    expect(answers.filter((text) => text === 'executed')).toHaveLength(1);
    expect(answers.filter((text) => text === 'replayed second')).toHaveLength(19);
  });

  it('goes on when the one that ran next is given back too', async () => {
    const bench = await Bench.started();
    const owner = await bench.begin();
    let tries = 0;
    const again = async () => ((tries += 1) < 3 ? RELEASE : complete('third'));
    const waiting = Array.from({ length: 5 }, () => bench.work(again, wait));
    await pass(0);
    owner.end(RELEASE);
    await pass(1_000);
    const answers = await Promise.all(waiting);
    expect(tries).toBe(3);
    expect(answers.filter((text) => text === 'replayed third')).toHaveLength(2);
  });

  it('goes on after an owner that only threw', async () => {
    const bench = await Bench.started();
    let fail!: () => void;
    const owner = bench.work(
      () => new Promise((_, reject) => (fail = () => reject(new Error('crash')))),
      { leaseMs: 3_000 },
    );
    await pass(0);
    const waiting = bench.run('second', { ...wait, leaseMs: 3_000 });
    await pass(0);
    fail();
    expect(await owner).toBe('error: crash');
    await pass(2_000);
    expect(await isPending(waiting)).toBe(true);
    await pass(1_300);
    expect(await waiting).toBe('executed');
    expect(bench.told).toContain('onTakenOver');
  });
});

describe('waiting for an attempt of another process', () => {
  it('shares one poll among all that wait', async () => {
    const bench = await Bench.started();
    const claim = await bench.claimedElsewhere(6_000);
    const waiting = Array.from({ length: 50 }, () => bench.run('second', wait));
    await pass(1_000);
    const polls = bench.store.count('find');
    // 25, 50, 100, 200, 250, 250, … ms, each shortened by up to half
    expect(polls).toBeGreaterThanOrEqual(5);
    expect(polls).toBeLessThanOrEqual(13);
    expect(bench.store.count('claim')).toBe(51);
    await bench.store.complete({ ...claim, result: recorded('first'), ttlMs: 1_000 });
    await pass(250);
    const answers = await Promise.all(waiting);
    expect(new Set(answers)).toEqual(new Set(['replayed first']));
    expect(bench.store.count('claim')).toBe(101);
    expect(bench.runs).toBe(0);
  });

  it('runs one of them when the lease of a dead owner is over', async () => {
    const bench = await Bench.started();
    await bench.claimedElsewhere(2_000);
    const waiting = [bench.run('second', wait), bench.run('second', wait)];
    await pass(1_999);
    expect(bench.runs).toBe(0);
    await pass(252);
    expect((await Promise.all(waiting)).sort()).toEqual(['executed', 'replayed second']);
    expect(bench.runs).toBe(1);
  });

  it('goes on waiting for a successor of the owner', async () => {
    const bench = await Bench.started();
    const claim = await bench.claimedElsewhere(6_000);
    const waiting = bench.run('x', wait);
    await pass(0);
    await bench.store.release(claim);
    const successor = await bench.claimedElsewhere(6_000);
    await pass(1_000);
    expect(await isPending(waiting)).toBe(true);
    await bench.store.complete({ ...successor, result: recorded('theirs'), ttlMs: 1_000 });
    await pass(250);
    expect(await waiting).toBe('replayed theirs');
    expect(bench.runs).toBe(0);
  });

  it('gives up in time with the answer that who does not wait gets, and leaves the claim alone', async () => {
    const bench = await Bench.started();
    await bench.claimedElsewhere(20_000);
    const before = await bench.record;
    const waiting = bench.run('x', { ...wait, waitTimeoutMs: 3_000 });
    await pass(2_999);
    expect(await isPending(waiting)).toBe(true);
    await pass(1);
    expect(await waiting).toBe('IN_PROGRESS');
    expect(bench.events).toEqual([{ hook: 'onRejected', code: 'IDEMPOTENCY_IN_PROGRESS' }]);
    expect(await bench.record).toEqual(before);
    const polls = bench.store.count('find');
    await pass(10_000);
    expect(bench.store.count('find')).toBe(polls);
    expect(bench.store.count('release')).toBe(0);
  });

  it('polls as long as the most patient one waits', async () => {
    const bench = await Bench.started();
    await bench.claimedElsewhere(20_000);
    const short = bench.run('x', { ...wait, waitTimeoutMs: 1_000 });
    const long = bench.run('x', { ...wait, waitTimeoutMs: 3_000 });
    await pass(1_000);
    expect(await short).toBe('IN_PROGRESS');
    const polls = bench.store.count('find');
    await pass(1_000);
    expect(bench.store.count('find')).toBeGreaterThan(polls);
    await pass(1_000);
    expect(await long).toBe('IN_PROGRESS');
  });

  it.each([
    ['fail', fails],
    ['hang', hangs],
  ])('outlasts polls that %s', async (_, fault) => {
    const bench = await Bench.started();
    const claim = await bench.claimedElsewhere(60_000);
    const waiting = bench.run('x', { ...wait, waitTimeoutMs: 30_000 });
    await pass(0);
    bench.store.breakDown(fault, 'find');
    await pass(2 * STORE_TIMEOUT);
    expect(bench.store.count('find')).toBeGreaterThan(1);
    expect(bench.store.count('claim')).toBe(2); // nobody was called for that
    expect(await isPending(waiting)).toBe(true);
    bench.store.heal();
    await bench.store.complete({ ...claim, result: recorded('first'), ttlMs: 60_000 });
    await pass(STORE_TIMEOUT + 250);
    expect(await waiting).toBe('replayed first');
  });

  it('is called away from a poll that hangs', async () => {
    const bench = await Bench.started();
    const owner = await bench.begin();
    bench.store.breakDown(hangs, 'find');
    const waiting = bench.run('x', wait);
    await pass(100);
    expect(bench.store.count('find')).toBe(1);
    owner.end('first');
    expect(await waiting).toBe('replayed first');
  });

  it('never runs beside an owner it has met, not even where a store that is down lets others run', async () => {
    const bench = await Bench.started();
    await bench.claimedElsewhere(60_000);
    const waiting = bench.run('x', { ...wait, onStoreFailure: 'open' });
    await pass(100);
    bench.store.breakDown(fails, 'claim', 'find');
    await pass(5_000 + STORE_TIMEOUT);
    expect(await waiting).toBe('IN_PROGRESS');
    expect(bench.runs).toBe(0);
  });
});
