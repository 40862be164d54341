import { IdempotencyError } from '../../src/engine/errors.js';
import {
  Bench,
  isPending,
  POLICY,
  pass,
  RELEASE,
  STORE_TIMEOUT,
  useFakeTime,
} from '../support/engine/bench.js';
import {
  fails,
  hangs,
  late,
  losesReply,
  throws,
  type Fault,
} from '../support/engine/probe-store.js';

useFakeTime();

const says =
  (code: ConstructorParameters<typeof IdempotencyError>[0], cause?: unknown): Fault =>
  async () => {
    throw new IdempotencyError(code, 'What the store says.', { cause });
  };

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('before the start', () => {
  it('refuses to run', async () => {
    const bench = new Bench();
    expect(await bench.run()).toBe('MISCONFIGURED');
    expect(bench.store.history).toBe('');
  });

  it('checks the store once', async () => {
    const bench = new Bench();
    await Promise.all([bench.engine.start(), bench.engine.start()]);
    await bench.engine.start();
    expect(bench.store.count('init')).toBe(1);
  });

  it('runs nothing on a store that did not start', async () => {
    const bench = new Bench();
    bench.store.plan('init', fails);
    await expect(bench.engine.start()).rejects.toThrow('ECONNREFUSED');
    expect(await bench.run()).toBe('STORE_UNAVAILABLE');
    expect(bench.told).toEqual(['onRejected']);
    expect(bench.store.count('claim')).toBe(0);
  });
});

describe('a store that does not answer', () => {
  it.each<[string, Fault[]]>([
    ['the reply is lost', [losesReply]],
    ['the reply is lost twice', [losesReply, losesReply]],
    ['the store is away for a moment', [fails, fails]],
    ['the store says so itself', [says('IDEMPOTENCY_STORE_UNAVAILABLE')]],
    ['the store throws instead of answering a promise', [throws]],
  ])('is asked again by the same owner, who runs once, when %s', async (_, faults) => {
    const bench = await Bench.started();
    bench.store.plan('claim', ...faults);
    const answer = bench.run('done');
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('executed');
    expect(bench.runs).toBe(1);
    const owners = bench.store
      .argumentsOf('claim')
      .map(([request]) => (request as { owner: string }).owner);
    expect(owners).toHaveLength(faults.length + 1);
    expect(new Set(owners).size).toBe(1);
    expect(bench.told).toEqual(['onExecuted']);
  });

  it('holds a lease from when it heard of its claim, not from when that was made', async () => {
    const bench = await Bench.started();
    // made when it was asked for the first time, and heard of just before that lease is over
    bench.store.plan('claim', losesReply, late(STORE_TIMEOUT - 200));
    const begun = bench.begin();
    await pass(STORE_TIMEOUT - 100);
    const { end, answer } = await begun;
    expect(bench.store.history).toBe('init claim claim renew');
    const heardAt = Date.now();
    expect((await bench.record)?.leaseUntil).toBeGreaterThan(heardAt + POLICY.leaseMs - 200);
    end('done');
    expect(await answer).toBe('executed');
  });

  it('is asked once more when an unheard claim was over before it could be renewed', async () => {
    const bench = await Bench.started();
    bench.store.plan('claim', losesReply);
    bench.store.plan('renew', async () => new Set() as never);
    const answer = bench.run('done');
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('executed');
    expect(bench.store.history).toBe('init claim claim renew claim renew complete');
  });

  it.each([
    ['refuses', fails],
    ['loses every reply', losesReply],
  ])(
    'turns the request away when it %s, runs nothing and gives the claim back',
    async (_, fault) => {
      const bench = await Bench.started();
      bench.store.breakDown(fault, 'claim');
      const run = failure(bench.engine.run(bench.operation(), async () => RELEASE));
      await pass(STORE_TIMEOUT);
      expect(await run).toMatchObject({
        code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
        retryAfterSeconds: 1,
        cause: expect.objectContaining({ message: expect.stringContaining('ECONN') }),
      });
      expect(bench.store.history).toBe('init claim claim claim release');
      expect(bench.events).toEqual([{ hook: 'onRejected', code: 'IDEMPOTENCY_STORE_UNAVAILABLE' }]);
      bench.store.heal();
      expect(await bench.run('now')).toBe('executed');
    },
  );

  it('turns the request away within its time, and gives a claim back that is made too late', async () => {
    const bench = await Bench.started();
    bench.store.plan('claim', late(STORE_TIMEOUT + 500));
    const answer = bench.run();
    await pass(STORE_TIMEOUT - 1);
    expect(await isPending(answer)).toBe(true);
    await pass(1);
    expect(await answer).toBe('STORE_UNAVAILABLE');
    await pass(500);
    expect(bench.store.history).toBe('init claim release');
    expect(await bench.record).toBeNull();
    expect(bench.runs).toBe(0);
  });

  it.each([
    ['hangs', hangs],
    ['fails', fails],
    ['throws', throws],
  ])('is left to the lease when giving back %s', async (_, fault) => {
    const bench = await Bench.started();
    bench.store.plan('claim', hangs);
    bench.store.breakDown(fault, 'release');
    const answer = bench.run();
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('STORE_UNAVAILABLE');
    await pass(2 * STORE_TIMEOUT);
    expect(bench.store.count('release')).toBe(1);
  });

  it('names the cause beneath what the store says', async () => {
    const bench = await Bench.started();
    const cause = new Error('ECONNREFUSED');
    bench.store.breakDown(says('IDEMPOTENCY_STORE_UNAVAILABLE', cause), 'claim');
    const run = failure(bench.engine.run(bench.operation(), async () => RELEASE));
    await pass(STORE_TIMEOUT);
    expect(await run).toMatchObject({ retryAfterSeconds: 1, cause });
  });

  it('is not asked again when it is set up wrongly', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(says('IDEMPOTENCY_MISCONFIGURED'), 'claim');
    expect(await bench.run('x', { onStoreFailure: 'open' })).toBe('MISCONFIGURED');
    expect(bench.store.history).toBe('init claim');
    expect(bench.runs).toBe(0);
  });

  it('lets the work run without protection where the policy says so, and tells so', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'claim', 'release');
    const answer = bench.work(
      async (attempt) => {
        expect(attempt).toMatchObject({ attempt: 1, fence: 0n, key: 'k' });
        return 'unrecorded';
      },
      { onStoreFailure: 'open' },
    );
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('unprotected');
    expect(bench.events).toEqual([{ hook: 'onUnprotected' }]);
    expect(bench.store.count('complete')).toBe(0);
  });

  it('does not open the way for a mismatch', async () => {
    const bench = await Bench.started();
    await bench.run('one', { payload: 1 });
    expect(await bench.run('two', { payload: 2, onStoreFailure: 'open' })).toBe('KEY_REUSED');
  });
});

describe('the time that the store has', () => {
  it('is not stretched by another try that could only begin after it', async () => {
    const bench = await Bench.started();
    const failsLate: Fault = async () => {
      await new Promise((resolve) => setTimeout(resolve, STORE_TIMEOUT - 10));
      throw new Error('connect ETIMEDOUT');
    };
    bench.store.plan('claim', failsLate);
    const answer = bench.run();
    await pass(STORE_TIMEOUT - 10);
    expect(await answer).toBe('STORE_UNAVAILABLE');
    expect(bench.store.count('claim')).toBe(1);
    expect(bench.runs).toBe(0);
  });
});
