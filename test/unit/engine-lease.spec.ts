import { clearFailpoints, setFailpoint } from '../../src/engine/failpoints.js';
import { Bench, pass, STORE_TIMEOUT, useFakeTime } from '../support/engine/bench.js';
import { fails, hangs, late, losesReply } from '../support/engine/probe-store.js';

useFakeTime();
afterEach(clearFailpoints);

describe('the lease', () => {
  it('is not renewed for work that ends within a third of it', async () => {
    const bench = await Bench.started();
    for (let run = 0; run < 20; run += 1) {
      const { end, answer } = await bench.begin({ key: `k${run}` });
      await pass(1_900);
      end('done');
      await answer;
    }
    expect(bench.store.count('renew')).toBe(0);
  });

  it('is kept under work that takes many times as long', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    for (let second = 0; second < 50; second += 1) {
      await pass(1_000);
      expect(await bench.run()).toBe('IN_PROGRESS');
    }
    expect(attempt.signal.aborted).toBe(false);
    // once in two to three seconds
    expect(bench.store.count('renew')).toBeGreaterThanOrEqual(16);
    expect(bench.store.count('renew')).toBeLessThanOrEqual(25);
    end('done');
    expect(await answer).toBe('executed');
    expect(bench.store.count('claim')).toBe(51);
  });

  it('is renewed for all attempts in one statement', async () => {
    const bench = await Bench.started();
    const running = await Promise.all(
      Array.from({ length: 100 }, (_, index) => bench.begin({ key: `k${index}` })),
    );
    await pass(2_000);
    expect(bench.store.count('renew')).toBe(1);
    const [claims, leaseMs] = bench.store.argumentsOf('renew')[0] as [{ owner: string }[], number];
    expect(leaseMs).toBe(6_000);
    expect(new Set(claims.map(({ owner }) => owner)).size).toBe(100);
    for (const { end } of running) {
      end('done');
    }
    await Promise.all(running.map(({ answer }) => answer));
  });

  it('is renewed in time beside a longer one', async () => {
    const bench = await Bench.started();
    const long = await bench.begin({ key: 'long', leaseMs: 60_000 });
    const short = await bench.begin({ key: 'short', leaseMs: 600 });
    const also = await bench.begin({ key: 'also', leaseMs: 60_000 });
    await pass(30_000);
    for (const { attempt, end, answer } of [long, short, also]) {
      expect(attempt.signal.aborted).toBe(false);
      end('done');
      expect(await answer).toBe('executed');
    }
    expect(bench.store.count('claim')).toBe(3);
    const lengths = bench.store.argumentsOf('renew').map(([, leaseMs]) => leaseMs);
    expect(lengths.filter((leaseMs) => leaseMs === 60_000)).toHaveLength(1);
    expect(lengths.filter((leaseMs) => leaseMs === 600).length).toBeGreaterThan(90);
  });

  it.each([
    ['fails', fails],
    ['loses its reply', losesReply],
    ['hangs', hangs],
  ])('is renewed at the next chance when a renewal %s', async (_, fault) => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.store.plan('renew', fault);
    await pass(2_000 + STORE_TIMEOUT + 1_000);
    expect(bench.store.count('renew')).toBeGreaterThanOrEqual(2);
    await pass(10_000);
    expect(attempt.signal.aborted).toBe(false);
    end('done');
    expect(await answer).toBe('executed');
    expect(bench.store.count('claim')).toBe(1);
  });

  it('survives a failure inside the renewal itself', async () => {
    const bench = await Bench.started();
    const { end, answer } = await bench.begin();
    let failures = 0;
    setFailpoint('renew', () => {
      failures += 1;
      throw new Error('failpoint');
    });
    await pass(3_000);
    expect(failures).toBeGreaterThan(0);
    clearFailpoints();
    await pass(60_000 - 3_001);
    end('done');
    expect(await answer).toBe('executed');
    expect(bench.store.count('claim')).toBe(1);
  });

  it('does not pile renewals up while one is under way', async () => {
    const bench = await Bench.started();
    const { end, answer } = await bench.begin({ leaseMs: 600 });
    bench.store.breakDown(late(900), 'renew');
    await pass(1_000);
    expect(bench.store.count('renew')).toBe(1);
    end('done');
    await answer;
  });
});

describe('the signal', () => {
  it('aborts when another attempt has the key', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.skew = 6_000; // for the store the lease is over
    const winner = await bench.begin();
    await pass(2_000);
    expect(attempt.signal.aborted).toBe(true);
    expect(attempt.signal.reason).toMatchObject({
      message: 'The lease was lost to another attempt.',
    });
    expect(winner.attempt.signal.aborted).toBe(false);
    winner.end('theirs');
    await winner.answer;
    end('mine');
    expect(await answer).toBe('replayed theirs');
  });

  it('aborts by the clock of this process when the store cannot be reached in time', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.store.breakDown(fails, 'renew');
    await pass(6_000);
    expect(attempt.signal.aborted).toBe(false);
    await pass(1_000);
    expect(attempt.signal.aborted).toBe(true);
    expect(attempt.signal.reason).toMatchObject({
      message: 'The lease could not be renewed in time.',
    });
    // it says so once, whatever follows
    await pass(60_000);
    expect(attempt.signal.reason).toMatchObject({
      message: 'The lease could not be renewed in time.',
    });
    end('late');
    await answer;
  });

  it('counts from before the claim was asked for', async () => {
    const bench = await Bench.started();
    bench.store.plan('claim', late(900));
    const begun = bench.begin();
    await pass(900);
    const { attempt, end, answer } = await begun;
    bench.store.breakDown(fails, 'renew');
    await pass(6_000);
    expect(attempt.signal.aborted).toBe(true);
    bench.store.heal();
    end('late');
    expect(await answer).toBe('executed');
  });

  it('aborts when the work outlives its longest duration, and the key is free a lease later', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin({ maxDurationMs: 20_000 });
    await pass(20_000);
    expect(attempt.signal.aborted).toBe(false);
    await pass(1_000);
    expect(attempt.signal.aborted).toBe(true);
    expect(attempt.signal.reason).toMatchObject({
      message: 'The operation outlived its maxDuration.',
    });
    const renewals = bench.store.count('renew');
    await pass(6_000);
    expect(bench.store.count('renew')).toBe(renewals);
    expect(await bench.run('theirs')).toBe('executed');
    end('mine');
    expect(await answer).toBe('replayed theirs');
  });

  it('aborts when a test takes the leases away, and they are not renewed any more', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    const { id, owner } = attempt;
    expect(bench.engine.loseLeases()).toEqual({ operations: 1, claims: [{ id, owner }] });
    expect(attempt.signal.reason).toMatchObject({ message: 'The lease was lost.' });
    await pass(6_000);
    expect(bench.store.count('renew')).toBe(0);
    end('mine');
    expect(await answer).toBe('executed');
    expect(bench.engine.loseLeases()).toEqual({ operations: 0, claims: [] });
  });

  it('does not abort for an attempt that is just being recorded', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    await pass(1_500);
    // the outcome is there, its reply takes long, and a renewal finds the claim gone
    bench.store.plan('complete', async (apply) => {
      const settled = await apply();
      await new Promise((resolve) => setTimeout(resolve, 900));
      return settled;
    });
    end('done');
    await pass(900);
    expect(bench.store.count('renew')).toBe(1);
    expect(await answer).toBe('executed');
    expect(attempt.signal.aborted).toBe(false);
  });

  it('does not abort for an attempt that ended while its renewal was under way', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.store.plan('renew', late(500));
    await pass(2_100);
    end('done');
    expect(await answer).toBe('executed');
    await pass(1_000);
    expect(attempt.signal.aborted).toBe(false);
  });
});
