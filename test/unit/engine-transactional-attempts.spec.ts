import { decodeFailure, encodeFailure } from '../../src/engine/last-failure.js';
import type { AttemptsPolicy, KeptOutcome, Outcome } from '../../src/engine/operation.js';
import {
  Bench,
  complete,
  failed,
  pass,
  POLICY,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  useFakeTime,
  type Answer,
  type OperationOptions,
} from '../support/engine/bench.js';
import { fails, failsWith, late, losesReply, type Fault } from '../support/engine/probe-store.js';
import {
  bench,
  conflict,
  refusal,
  transactions,
  useTransactionalBench,
} from '../support/engine/transactional-store.js';

useFakeTime();
useTransactionalBench();

const attempts: AttemptsPolicy = { max: 2, delayMs: () => 1, onExhausted: 'park' };
const MODE = { mode: 'transactional', attempts } as const;
const FAILED: Outcome = { type: 'release', failure: encodeFailure(new TypeError('no')) };

const run = (end: Outcome | string = 'done', options: OperationOptions = {}): Promise<Answer> =>
  bench.run(end, { ...MODE, ...options });
/** The number that the next attempt gets. */
async function next(): Promise<number> {
  const { attempt, end, answer } = await bench.begin({
    ...MODE,
    attempts: { ...attempts, max: 9 },
  });
  end({ type: 'release', counted: false });
  await answer;
  return attempt.attempt;
}

describe('attempts of a transaction', () => {
  it('count once each, and are parked after the last', async () => {
    expect(await run(FAILED)).toBe('executed');
    expect(await run(FAILED)).toBe('executed');
    expect(await run()).toBe('PARKED');
    expect(bench.runs).toBe(2);
    expect(bench.told).toEqual(['onReleased', 'onParked', 'onRejected']);
    expect(await bench.record).toMatchObject({ attemptsStarted: 2, attemptsFinished: 2 });
  });

  it('count when they lose their lease', async () => {
    const { end, answer } = await bench.begin(MODE);
    expect(bench.engine.loseLeases()).toEqual({ operations: 1, claims: [] });
    expect(await answer).toBe('TRANSACTION_BROKEN');
    end('late');
    expect(await next()).toBe(2);
  });

  it.each<[string, Outcome, string | undefined]>([
    [
      'judged to be in doubt',
      { type: 'uncertain', ...('failure' in FAILED && { failure: FAILED.failure! }) },
      'no',
    ],
    ['not fit to be kept', failed(TOMBSTONE as KeptOutcome), undefined],
  ])('count when their failure is %s', async (_, end, message) => {
    await run(end);
    await run(end);
    expect(decodeFailure((await bench.record)!.result)?.message).toBe(message);
    expect(await run()).toBe('PARKED');
  });

  it.each<[string, () => Promise<Answer>, string]>([
    [
      'cannot be completed',
      () => {
        transactions.plan('complete', failsWith(refusal));
        return run();
      },
      'TRANSACTION_BROKEN',
    ],
    [
      'leave their transaction where that is refused',
      () =>
        bench.work(
          async () => {
            transactions.watch('outside');
            return 'done';
          },
          { ...MODE, strict: true },
        ),
      'TRANSACTION_BROKEN',
    ],
    [
      'outlive maxDuration',
      async () => {
        const { answer } = await bench.begin({ ...MODE, maxDurationMs: 3_000 });
        await pass(6_000);
        return answer;
      },
      'TRANSACTION_BROKEN',
    ],
    [
      'throw what is no outcome',
      () => bench.work(() => Promise.reject(new Error('bug')), MODE),
      'error: bug',
    ],
  ])('count when they %s', async (_, attempt, code) => {
    expect(await attempt()).toBe(code);
    expect(await next()).toBe(2);
    expect(await attempt()).toBe(code);
    expect((await bench.record)?.state).toBe('parked');
    expect(decodeFailure((await bench.record)!.result)).toBeDefined();
    expect(await run()).toBe('PARKED');
    expect(bench.runs).toBe(3);
  });

  it.each<[string, 'complete' | 'commit', Fault, string]>([
    ['met others', 'complete', failsWith(conflict), 'TRANSACTION_CONFLICT'],
    ['met others at the end', 'commit', failsWith(conflict), 'TRANSACTION_CONFLICT'],
    ['lost their connection', 'commit', fails, 'STORE_UNAVAILABLE'],
  ])('do not count that %s', async (_, call, fault, code) => {
    for (let n = 0; n < 3; n += 1) {
      transactions.plan(call, fault);
      expect(await run()).toBe(code);
    }
    expect(await next()).toBe(1);
  });

  it('do not count that met others as often as they are run for it', async () => {
    const answer = bench.work(
      async (attempt) => (attempt.runsAgain(conflict) ? { type: 'again' } : RELEASE),
      MODE,
    );
    await pass(1_000);
    expect(await answer).toBe('TRANSACTION_CONFLICT');
    expect(bench.runs).toBe(4);
    expect(await next()).toBe(1);
  });

  it('do not count that were let go with the application', async () => {
    const { answer } = await bench.begin(MODE);
    await bench.engine.drain(0);
    expect(await answer).toBe('TRANSACTION_BROKEN');
    await pass(0);
    const claim = await bench.store.claim({
      ...(bench.store.argumentsOf('claim')[0]![0] as Parameters<typeof bench.store.claim>[0]),
      owner: '0'.repeat(32),
    });
    expect(claim).toMatchObject({ type: 'claimed', attempt: 1 });
  });

  it('are known by their owner when the answer to their commit is lost', async () => {
    transactions.plan('commit', losesReply);
    expect(await run('mine')).toBe('executed');
    expect(await run()).toBe('replayed mine');
  });

  it('are one, however often they run because of others', async () => {
    const seen: number[] = [];
    const answer = bench.work(async ({ attempt }) => {
      seen.push(attempt);
      return seen.length < 3 ? { type: 'again' } : 'mine';
    }, MODE);
    await pass(1_000);
    expect(await answer).toBe('executed');
    expect(seen).toEqual([1, 1, 1]);
  });

  it.each<[string, Fault, string]>([
    ['somebody else is at it', async () => ({ type: 'busy' }) as never, 'IN_PROGRESS'],
    ['the store is away', fails, 'STORE_UNAVAILABLE'],
  ])('are given back when they cannot run again because %s', async (_, fault, code) => {
    const answer = bench.work(async () => {
      transactions.plan('begin', fault);
      return { type: 'again' };
    }, MODE);
    await pass(1_000);
    expect(await answer).toBe(code);
    expect(await next()).toBe(1);
  });

  it.each([2, 5])('are given back when they begin %i times too late', async (times) => {
    transactions.plan('begin', late(times * STORE_TIMEOUT));
    const answer = run();
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('STORE_UNAVAILABLE');
    await pass(times * STORE_TIMEOUT);
    expect(await bench.record).toBeNull();
    expect(await next()).toBe(1);
  });

  it('are given back for a key that is too old', async () => {
    const key = `0000${'0'.repeat(4)}-0000-7000-8000-000000000000`;
    expect(await run('mine', { key })).toBe('KEY_EXPIRED');
    expect(await bench.store.find(bench.operation({ key }).id)).toBeNull();
  });

  it('keep a failure that is the outcome without another claim', async () => {
    expect(await run(failed(complete('sold out')))).toBe('executed');
    expect(bench.store.count('claim')).toBe(1);
    expect(await run()).toBe('replayed sold out');
  });

  it('are in doubt, and not counted, when they committed by themselves and failed', async () => {
    const answer = bench.work(async () => {
      await transactions.current!.leave();
      return RELEASE;
    }, MODE);
    expect(await answer).toBe('executed');
    expect((await bench.record)?.state).toBe('uncertain');
    expect(bench.told).toEqual(['onUncertain']);
  });
});

describe('attempts of a transaction that died', () => {
  /** Another process begins, and is never heard of again. */
  const dies = async (): Promise<void> => {
    const other = await Bench.started(bench.store);
    await other.begin(MODE);
    await transactions.current!.abandon();
    other.engine.stop();
  };

  it('hold the key until their lease is over, and are followed by the next', async () => {
    await dies();
    expect(await run()).toBe('IN_PROGRESS');
    await pass(POLICY.leaseMs);
    expect(await run()).toBe('executed');
    expect(bench.events.slice(1)).toEqual([
      { hook: 'onTakenOver', attempt: 2 },
      { hook: 'onExecuted', attempt: 2, stored: true },
    ]);
  });

  it('are parked by the next, which does not run', async () => {
    for (let n = 0; n < 2; n += 1) {
      await dies();
      await pass(POLICY.leaseMs);
    }
    bench.store.plan('park', fails);
    expect(await run()).toBe('STORE_UNAVAILABLE');
    await pass(POLICY.leaseMs);
    expect(await run()).toBe('PARKED');
    expect(bench.runs).toBe(0);
    expect(await bench.record).toMatchObject({ state: 'parked', result: null });
  });
});

describe('steps of a transaction that broke', () => {
  const charged: number[] = [];
  beforeEach(() => void charged.splice(0));
  const work = (options: OperationOptions): Promise<Answer> =>
    bench.work(
      async (attempt) => {
        await attempt.step('charge', () => charged.push(attempt.attempt));
        return 'done';
      },
      { ...MODE, ...options },
    );

  it.each([
    ['counted', {}],
    ['not counted', { attempts: undefined }],
  ])('are kept where attempts are %s', async (_, options) => {
    transactions.plan('complete', failsWith(refusal));
    expect(await work(options)).toBe('TRANSACTION_BROKEN');
    // the next one finds them, for which the key is in lease mode
    expect(await work({ mode: 'lease', ...options })).toBe('executed');
    expect(charged).toHaveLength(1);
    expect(await bench.record).toMatchObject({ attemptsStarted: 2 });
  });

  it('are claimed anew for when the lease is over', async () => {
    const { attempt, end, answer } = await bench.begin(MODE);
    await attempt.step('charge', () => 1);
    await pass(POLICY.leaseMs);
    end(FAILED);
    expect(await answer).toBe('executed');
    expect(bench.store.count('keepSteps')).toBe(2);
    expect(await bench.record).toBeNull();
  });

  it('are told of when they cannot be kept, and the attempt counts', async () => {
    bench.store.plan('keepSteps', fails);
    transactions.plan('complete', failsWith(refusal));
    expect(await work({})).toBe('TRANSACTION_BROKEN');
    expect(bench.told).toEqual(['onRecordingFailed', 'onReleased', 'onRejected']);
    expect(await next()).toBe(2);
  });
});

describe('a claim for what was undone', () => {
  it.each([1.5, 5])('is given back when it comes %f times too late', async (times) => {
    bench.store.plan('claim', late(times * STORE_TIMEOUT));
    const answer = bench.run(failed(complete('sold out')), {
      mode: 'transactional',
    });
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('executed');
    await pass(times * STORE_TIMEOUT);
    expect(bench.store.count('release')).toBe(times === 5 ? 2 : 1);
    expect(await bench.record).toBeNull();
    expect(await bench.run('second', { mode: 'transactional' })).toBe('executed');
  });
});
