import { jest } from '@jest/globals';
import type { UnknownOutcome, UnknownOutcomeResolver } from '../../src/engine/unknown-outcome.js';
import { Steps } from '../../src/engine/steps.js';
import {
  Bench,
  complete,
  pass,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
} from '../support/engine/bench.js';
import { fails, hangs, losesReply } from '../support/engine/probe-store.js';

useFakeTime();

type OnUnknown = 'rerun' | 'block' | UnknownOutcomeResolver | undefined;

/** What a step or the point of no return answered or threw. */
const outcomeOf = (done: Promise<unknown>): Promise<unknown> =>
  done.then(
    (value) => value ?? 'done',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );

/** An attempt that died; its effect had begun unless it says otherwise. */
async function died(onUnknownOutcome?: OnUnknown, { effect = true } = {}): Promise<Bench> {
  const bench = await Bench.started();
  const { attempt } = await bench.begin({ onUnknownOutcome });
  if (effect) {
    await attempt.effectStarted();
  }
  bench.store.breakDown(fails, 'renew');
  await pass(6_000);
  bench.store.heal();
  return bench;
}

/** An attempt that failed after its effect had begun. */
async function failed(onUnknownOutcome?: OnUnknown): Promise<Bench> {
  const bench = await Bench.started();
  const { attempt, end, answer } = await bench.begin({ onUnknownOutcome });
  await attempt.effectStarted();
  end(RELEASE);
  expect(await answer).toBe('executed');
  return bench;
}

describe('past the point of no return', () => {
  it('a failure leaves an uncertain outcome', async () => {
    const bench = await failed();
    expect(bench.told).toEqual(['onUncertain']);
    expect((await bench.record)?.state).toBe('uncertain');
    expect(await bench.run('again')).toBe('OUTCOME_UNCERTAIN');
    expect(bench.runs).toBe(1);
  });

  it('a dead attempt leaves one the moment its lease is over', async () => {
    const bench = await died();
    expect((await bench.record)?.state).toBe('uncertain');
    expect(await bench.run('again')).toBe('OUTCOME_UNCERTAIN');
    expect(bench.runs).toBe(1);
    const listed = await bench.store.list({ state: 'uncertain', limit: 10 });
    expect(listed.map(({ id }) => id)).toEqual([bench.operation().id]);
  });

  it.each([
    ['done', 'replayed done'],
    [TOMBSTONE, 'RESULT_UNAVAILABLE'],
    [UNCERTAIN, 'OUTCOME_UNCERTAIN'],
  ])('the outcome %j counts as always', async (outcome, next) => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    await attempt.effectStarted();
    end(outcome);
    expect(await answer).toBe('executed');
    expect(await bench.run('x')).toBe(next);
  });

  it('an attempt that is late to end may still record its outcome', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    await attempt.effectStarted();
    bench.store.breakDown(fails, 'renew');
    await pass(20_000);
    expect(await bench.run('x')).toBe('OUTCOME_UNCERTAIN');
    end('late');
    expect(await answer).toBe('executed');
    expect(await bench.run('x')).toBe('replayed late');
  });

  it.each([
    [{ result: Buffer.from(''), ttlMs: 1_000 }, 'RECORD_UNREADABLE'],
    [{ result: null, ttlMs: 1_000 }, 'RESULT_UNAVAILABLE'],
  ])(
    'an attempt that slept answers with the outcome it was given meanwhile',
    async (given, code) => {
      const bench = await Bench.started();
      const { attempt, end, answer } = await bench.begin();
      await attempt.effectStarted();
      bench.store.breakDown(fails, 'renew');
      await pass(6_000);
      expect(await bench.store.resolve(attempt.id, given)).toBe(true);
      end('late');
      expect(await answer).toBe(code);
      expect(bench.told).not.toContain('onExecuted');
    },
  );

  it('steps that changed leave an uncertain outcome, and stay', async () => {
    const bench = await Bench.started();
    const work = (names: string[]) =>
      bench.work(async (attempt) => {
        await attempt.effectStarted();
        for (const name of names) {
          await outcomeOf(attempt.step(name, () => name));
        }
        return RELEASE;
      });
    await work(['charge']);
    await bench.store.resolve(bench.operation().id, 'absent');
    expect(await outcomeOf(work(['pay']))).toBe('STEPS_CHANGED');
    expect((await bench.record)?.state).toBe('uncertain');
    await bench.store.resolve(bench.operation().id, 'absent');
    const { attempt, end } = await bench.begin();
    expect(await attempt.step('charge', () => 'run again')).toBe('charge');
    end(RELEASE);
  });

  it('is passed once, however often it is said', async () => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    await attempt.effectStarted();
    await attempt.effectStarted();
    expect(bench.store.count('startEffect')).toBe(1);
    end('done');
  });

  it('a lease that ran out is claimed anew as past it', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    await attempt.effectStarted();
    bench.store.breakDown(fails, 'renew');
    await pass(6_000);
    await bench.store.resolve(attempt.id, 'absent');
    end('late');
    expect(await answer).toBe('executed');
    expect(bench.store.argumentsOf('claim').at(-1)).toEqual([
      expect.objectContaining({ owner: attempt.owner, effectStarted: true }),
    ]);
  });
});

describe('the point of no return', () => {
  it.each([
    ['is away', fails],
    ['hangs', hangs],
  ])('is not passed while the store %s, and a failure is released', async (_, fault) => {
    const bench = await Bench.started();
    bench.store.breakDown(fault, 'startEffect');
    const { attempt, end, answer } = await bench.begin();
    const passed = outcomeOf(attempt.effectStarted());
    await pass(STORE_TIMEOUT);
    expect(await passed).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    bench.store.heal();
    end(RELEASE);
    await answer;
    expect(await bench.run('again')).toBe('executed');
  });

  it('is passed in spite of a lost reply', async () => {
    const bench = await Bench.started();
    bench.store.plan('startEffect', losesReply);
    const { attempt, end } = await bench.begin();
    const passed = outcomeOf(attempt.effectStarted());
    await pass(200);
    expect(await passed).toBe('done');
    end('done');
  });

  it('is not passed by an attempt whose claim another has taken', async () => {
    const bench = await Bench.started();
    const stale = await bench.begin();
    bench.skew = 6_000;
    const winner = await bench.begin();
    expect(await outcomeOf(stale.attempt.effectStarted())).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(stale.attempt.signal.aborted).toBe(true);
    stale.end(RELEASE);
    winner.end('theirs');
    await winner.answer;
    expect(await bench.run('x')).toBe('replayed theirs');
  });

  it('is not passed when the lease is over, though nobody took the key', async () => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    bench.skew = 6_000;
    expect(await outcomeOf(attempt.effectStarted())).toBe('IDEMPOTENCY_IN_PROGRESS');
    end(RELEASE);
    expect(await bench.run('again')).toBe('executed');
  });
});

describe("onUnknownOutcome: 'rerun'", () => {
  it.each([
    ['died', () => died('rerun')],
    ['failed', () => failed('rerun')],
  ])('runs again after an attempt that %s past the point of no return', async (_, arrange) => {
    const bench = await arrange();
    expect(await bench.run('again', { onUnknownOutcome: 'rerun' })).toBe('executed');
    expect(bench.runs).toBe(2);
    expect(await bench.run('x')).toBe('replayed again');
  });

  it('goes on behind the finished steps', async () => {
    const bench = await Bench.started();
    const first = await bench.begin();
    await first.attempt.step('reserve', () => 'reserved');
    await first.attempt.effectStarted();
    first.end(RELEASE);
    await first.answer;
    const { attempt, end } = await bench.begin({ onUnknownOutcome: 'rerun' });
    expect(await attempt.step('reserve', () => 'again')).toBe('reserved');
    end('done');
  });

  it('never runs for another request', async () => {
    const bench = await failed('rerun');
    const other = { payload: 'other', onUnknownOutcome: 'rerun' } as const;
    expect(await bench.run('x', other)).toBe('KEY_REUSED');
    expect((await bench.record)?.state).toBe('uncertain');
  });

  it('runs once when two come at once', async () => {
    const bench = await failed('rerun');
    const both = await Promise.all(
      [1, 2].map(() => bench.run('again', { onUnknownOutcome: 'rerun', onConcurrent: 'wait' })),
    );
    expect(both.sort()).toEqual(['executed', 'replayed again']);
    expect(bench.runs).toBe(2);
  });

  it('does not run without protection when the store goes away meanwhile', async () => {
    const bench = await failed('rerun');
    bench.store.breakDown(fails, 'resolve');
    const open = { onUnknownOutcome: 'rerun', onStoreFailure: 'open' } as const;
    expect(await bench.run('x', open)).toBe('OUTCOME_UNCERTAIN');
    bench.store.heal();
    bench.store.plan('resolve', async (apply) => {
      bench.store.breakDown(fails, 'claim');
      return apply();
    });
    const answer = bench.run('x', open);
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('OUTCOME_UNCERTAIN');
    expect(bench.runs).toBe(1);
  });
});

describe("onUnknownOutcome: 'block'", () => {
  it('leaves every dead attempt uncertain, also without effectStarted()', async () => {
    const bench = await died('block', { effect: false });
    expect(await bench.run('again', { onUnknownOutcome: 'block' })).toBe('OUTCOME_UNCERTAIN');
    expect(await bench.run('again')).toBe('OUTCOME_UNCERTAIN');
    expect(bench.runs).toBe(1);
  });

  it('is not what is done unless it is asked for', async () => {
    const bench = await died(undefined, { effect: false });
    expect(await bench.run('again')).toBe('executed');
  });

  it('leaves a failure to the errors policy, unless the effect has begun', async () => {
    const bench = await Bench.started();
    await bench.run(RELEASE, { onUnknownOutcome: 'block' });
    expect(await bench.run('again', { onUnknownOutcome: 'block' })).toBe('executed');
    const second = await failed('block');
    expect(await second.run('again', { onUnknownOutcome: 'block' })).toBe('OUTCOME_UNCERTAIN');
  });

  it.each([
    ['block', 'OUTCOME_UNCERTAIN'],
    [undefined, 'executed'],
  ] as const)('with %s a step that could not be recorded leaves %s', async (given, next) => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'keepSteps');
    const { attempt, end, answer } = await bench.begin({ onUnknownOutcome: given });
    const step = outcomeOf(attempt.step('charge', () => 'charged'));
    await pass(STORE_TIMEOUT);
    expect(await step).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    bench.store.heal();
    end(RELEASE);
    await answer;
    expect(await bench.run('again', { onUnknownOutcome: given })).toBe(next);
  });
});

describe('onUnknownOutcome: a resolver', () => {
  it('leaves every dead attempt uncertain until it is asked', async () => {
    const bench = await died(() => 'unknown', { effect: false });
    expect(await bench.run('again')).toBe('OUTCOME_UNCERTAIN');
  });

  it('is told what there is to know', async () => {
    const asked: UnknownOutcome[] = [];
    const resolver = (unknown: UnknownOutcome) => {
      asked.push(unknown);
      return 'unknown' as const;
    };
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    await attempt.effectStarted();
    end(RELEASE);
    await answer;
    expect(await bench.run('x', { onUnknownOutcome: resolver })).toBe('OUTCOME_UNCERTAIN');
    const { derive, ...rest } = asked[0] as UnknownOutcome;
    expect(rest).toEqual({
      key: 'k',
      scope: 'alice',
      handler: 'Orders.place',
      attempts: 1,
      fence: attempt.fence,
    });
    expect(derive('charge')).toBe(attempt.derive('charge'));
    expect(asked).toHaveLength(1);
  });

  it.each<[verdict: unknown, answer: string, runs: number]>([
    ['absent', 'executed', 2],
    ['done', 'RESULT_UNAVAILABLE', 1],
    [{ result: 'found' }, 'replayed found', 1],
    [{ result: undefined }, 'replayed undefined', 1],
    [{ response: { status: 201 } }, 'MISCONFIGURED', 1],
    ['unknown', 'OUTCOME_UNCERTAIN', 1],
    ['nonsense', 'OUTCOME_UNCERTAIN', 1],
    [{}, 'OUTCOME_UNCERTAIN', 1],
    [{ result: 1, response: {} }, 'OUTCOME_UNCERTAIN', 1],
    [null, 'OUTCOME_UNCERTAIN', 1],
    [undefined, 'OUTCOME_UNCERTAIN', 1],
  ])('that answers %j', async (verdict, expected, runs) => {
    const resolver = (async () => verdict) as UnknownOutcomeResolver;
    const bench = await died(resolver);
    expect(await bench.run('again', { onUnknownOutcome: resolver })).toBe(expected);
    expect(bench.runs).toBe(runs);
    const state = (await bench.record)?.state;
    expect(state === 'uncertain').toBe(['OUTCOME_UNCERTAIN', 'MISCONFIGURED'].includes(expected));
  });

  it('that throws leaves it as it is, and tells why', async () => {
    const bench = await failed();
    const reason = new Error('the bank does not answer');
    const resolver = () => {
      throw reason;
    };
    const answer = bench.engine.run(bench.operation({ onUnknownOutcome: resolver }), async () =>
      complete('x'),
    );
    await expect(answer).rejects.toMatchObject({
      code: 'IDEMPOTENCY_OUTCOME_UNCERTAIN',
      cause: reason,
    });
    expect((await bench.record)?.state).toBe('uncertain');
  });

  it('is not asked about another request, nor when the outcome is known', async () => {
    const resolver = jest.fn(() => 'absent' as const);
    const bench = await failed();
    const options = { onUnknownOutcome: resolver };
    expect(await bench.run('x', { ...options, payload: 'other' })).toBe('KEY_REUSED');
    await bench.store.resolve(bench.operation().id, { result: null, ttlMs: 1_000 });
    expect(await bench.run('x', options)).toBe('RESULT_UNAVAILABLE');
    expect(resolver).not.toHaveBeenCalled();
  });

  it('asked by two at once counts once, and both answer from the record', async () => {
    let verdicts = 0;
    const resolver = async () => ({ result: `found ${(verdicts += 1)}` });
    const bench = await failed();
    const both = await Promise.all(
      [1, 2].map(() => bench.run('x', { onUnknownOutcome: resolver })),
    );
    expect(verdicts).toBe(2);
    expect(new Set(both).size).toBe(1);
    expect(both[0]).toMatch(/^replayed found [12]$/);
  });

  it('says nothing about an attempt that has begun while it was asked', async () => {
    const bench = await failed();
    const resolver = async () => {
      // somebody else settles it, and the next attempt fails like the first
      await bench.store.resolve(bench.operation().id, 'absent');
      const next = await bench.begin();
      await next.attempt.effectStarted();
      next.end(RELEASE);
      await next.answer;
      return 'absent' as const;
    };
    expect(await bench.run('x', { onUnknownOutcome: resolver })).toBe('OUTCOME_UNCERTAIN');
    expect(bench.runs).toBe(2);
    expect((await bench.record)?.attemptsStarted).toBe(2);
  });

  it('gives an outcome that is kept for as long as any other', async () => {
    const bench = await failed();
    const ttlMs = 10_000;
    await bench.run('x', { onUnknownOutcome: () => 'done', ttlMs });
    const record = await bench.record;
    expect(record?.expiresAt).toBe(Date.now() + ttlMs);
  });

  it('lets the next attempt go on behind the finished steps', async () => {
    const bench = await Bench.started();
    const claim = await bench.claimedElsewhere(1_000);
    const steps = new Steps(bench.operation().fingerprint, 1_000);
    steps.finish(steps.ask('reserve'), 'reserved');
    await bench.store.keepSteps(claim, steps.encode());
    await bench.store.startEffect(claim);
    await pass(1_000);
    const { attempt, end } = await bench.begin({ onUnknownOutcome: () => 'absent' });
    expect(await attempt.step('reserve', () => 'again')).toBe('reserved');
    end('done');
  });
});
