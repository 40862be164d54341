import type { Attempt, IdempotencyContext } from '../../src/engine/attempt.js';
import { Steps } from '../../src/engine/steps.js';
import type { Claim } from '../../src/engine/store.js';
import {
  Bench,
  pass,
  POLICY,
  RELEASE,
  STORE_TIMEOUT,
  useFakeTime,
  type OperationOptions,
  type Running,
} from '../support/engine/bench.js';
import {
  fails,
  failsWith,
  hangs,
  losesReply,
  passes,
  type Fault,
} from '../support/engine/probe-store.js';
import {
  bench,
  conflict,
  refusal,
  transactions,
  useTransactionalBench,
} from '../support/engine/transactional-store.js';

useFakeTime();
useTransactionalBench();

/** How often the work of a step ran. */
let runs: number;

beforeEach(() => {
  runs = 0;
});

const outcomeOf = (step: Promise<unknown>): Promise<unknown> =>
  step.then(
    (value) => value,
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );

const book = (
  attempt: IdempotencyContext,
  work: () => unknown = () => undefined,
): Promise<string> =>
  attempt.transaction('book', async () => {
    runs += 1;
    await work();
    return `booked ${attempt.attempt}`;
  });

/** What the step is for an attempt that comes after this one has failed. */
async function afterFailure(
  { end, answer }: Running,
  options: OperationOptions = {},
): Promise<unknown> {
  end(RELEASE);
  await answer;
  const retry = await bench.begin(options);
  const step = await outcomeOf(book(retry.attempt));
  retry.end('done');
  expect(await retry.answer).toBe('executed');
  return step;
}

/** Somebody else gets the key, as after the end of the lease. */
function takeKeyAway(): Promise<Claim> {
  bench.skew += POLICY.leaseMs;
  return bench.claimedElsewhere(10_000);
}

describe('a step that is a transaction', () => {
  it('commits its work and its result together, and is not run again', async () => {
    const first = await bench.begin();
    expect(await book(first.attempt)).toBe('booked 1');
    expect(transactions.calls).toEqual(['open', 'keepSteps', 'commit']);
    expect(await afterFailure(first)).toBe('booked 1');
    expect(runs).toBe(1);
  });

  it('leaves nothing when its work fails', async () => {
    const first = await bench.begin();
    const step = book(first.attempt, () => Promise.reject(new Error('sold out')));
    await expect(step).rejects.toThrow('sold out');
    expect(transactions.calls).toEqual(['open', 'rollback']);
    expect(await afterFailure(first)).toBe('booked 2');
  });

  it('is refused on a store without transactions', async () => {
    const other = await Bench.started();
    const { attempt, end } = await other.begin();
    await expect(book(attempt)).rejects.toThrow('Use typeOrmStore(), or once.step().');
    expect(runs).toBe(0);
    end(RELEASE);
  });

  it('is refused where there is no store to commit it in', async () => {
    bench.store.breakDown(fails, 'claim');
    await pass(60_000); // no lease of a minute ago holds it up
    let step: unknown;
    const answer = bench.work(
      async (attempt) => {
        step = await outcomeOf(book(attempt));
        return RELEASE;
      },
      { onStoreFailure: 'open' },
    );
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('unprotected');
    expect([step, runs]).toEqual(['IDEMPOTENCY_STORE_UNAVAILABLE', 0]);
  });

  it('is undone with an attempt that has lost its claim meanwhile', async () => {
    const { attempt, end } = await bench.begin();
    expect(await outcomeOf(book(attempt, takeKeyAway))).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(attempt.signal.aborted).toBe(true);
    expect(transactions.calls).toEqual(['open', 'keepSteps', 'rollback']);
    end(RELEASE);
  });

  it.each<[string, Error, string]>([
    ['after an error that the work swallowed', refusal, 'IDEMPOTENCY_TRANSACTION_BROKEN'],
    ['when its connection is gone', new Error('ECONNRESET'), 'IDEMPOTENCY_STORE_UNAVAILABLE'],
  ])('leaves nothing %s', async (_, error, code) => {
    const first = await bench.begin();
    transactions.plan('keepSteps', failsWith(error));
    expect(await outcomeOf(book(first.attempt))).toBe(code);
    expect(transactions.count('commit')).toBe(0);
    expect(await afterFailure(first)).toBe('booked 2');
  });

  it('that leaves it fails where that is strict', async () => {
    const first = await bench.begin({ strict: true });
    const step = book(first.attempt, () => {
      try {
        transactions.watch('outside');
      } catch {
        // the handler may be careless
      }
    });
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_TRANSACTION_BROKEN');
    expect(transactions.calls).toEqual(['open', 'keepSteps', 'rollback']);
    expect(await afterFailure(first)).toBe('booked 2');
  });
});

describe('a step that meets others', () => {
  it.each(['keepSteps', 'commit'] as const)('at its %s runs again', async (call) => {
    const first = await bench.begin();
    transactions.plan(call, failsWith(conflict), passes);
    const step = book(first.attempt);
    await pass(100);
    expect(await step).toBe('booked 1');
    expect(runs).toBe(2);
    expect(await afterFailure(first)).toBe('booked 1');
  });

  it('in its work runs again, four times in all', async () => {
    const { attempt, end } = await bench.begin();
    const step = outcomeOf(book(attempt, () => Promise.reject(conflict)));
    await pass(1_000);
    expect(await step).toBe('deadlock');
    expect([runs, transactions.count('rollback')]).toEqual([4, 4]);
    end(RELEASE);
  });

  it('is told so when it never succeeds', async () => {
    const { attempt, end } = await bench.begin();
    transactions.plan('commit', ...Array.from({ length: 4 }, () => failsWith(conflict)));
    const step = outcomeOf(book(attempt));
    await pass(1_000);
    expect(await step).toBe('IDEMPOTENCY_TRANSACTION_CONFLICT');
    end(RELEASE);
  });

  it('does not run again what it has committed by itself', async () => {
    const { attempt, end, answer } = await bench.begin();
    const step = book(attempt, async () => {
      await transactions.current!.leave();
      throw conflict;
    });
    await expect(step).rejects.toBe(conflict);
    expect(runs).toBe(1);
    end(RELEASE);
    await answer;
    expect(bench.told).toEqual(['onUncertain']);
  });
});

describe('a step that commits by itself', () => {
  const leave = () => transactions.current!.leave();

  it('is written down after the fact', async () => {
    const first = await bench.begin();
    expect(await book(first.attempt, leave)).toBe('booked 1');
    expect(bench.events).toEqual([{ hook: 'onEscaped', escape: 'ended' }]);
    expect(transactions.count('commit')).toBe(0);
    expect(await afterFailure(first)).toBe('booked 1');
    expect(runs).toBe(1);
  });

  it('leaves the outcome in doubt when that is not possible', async () => {
    const { attempt, end, answer } = await bench.begin();
    bench.store.plan('keepSteps', fails);
    expect(await outcomeOf(book(attempt, leave))).toBe('connect ECONNREFUSED');
    end(RELEASE);
    await answer;
    expect(await bench.run('x')).toBe('OUTCOME_UNCERTAIN');
  });

  it('writes nothing down for an attempt that has lost its claim', async () => {
    const { attempt, end } = await bench.begin();
    const step = book(attempt, async () => {
      await leave();
      await takeKeyAway();
    });
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(attempt.signal.aborted).toBe(true);
    end(RELEASE);
  });
});

describe('a step whose commit', () => {
  it.each<[string, Error, string]>([
    ['is refused', refusal, 'IDEMPOTENCY_TRANSACTION_BROKEN'],
    ['does not arrive', new Error('ECONNRESET'), 'IDEMPOTENCY_STORE_UNAVAILABLE'],
  ])('%s has not happened, and the attempt may go on', async (_, error, code) => {
    const first = await bench.begin();
    await first.attempt.step('before', () => 1);
    transactions.plan('commit', failsWith(error));
    expect(await outcomeOf(book(first.attempt))).toBe(code);
    expect(await first.attempt.step('next', () => 'goes on')).toBe('goes on');
    first.end(RELEASE);
    await first.answer;
    const retry = await bench.begin();
    await retry.attempt.step('before', () => 2);
    expect(await book(retry.attempt)).toBe('booked 2');
    retry.end(RELEASE);
  });

  it('does not arrive has not happened when it was the first', async () => {
    const first = await bench.begin();
    transactions.plan('commit', fails);
    expect(await outcomeOf(book(first.attempt))).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    expect(await afterFailure(first)).toBe('booked 2');
  });

  it.each<[string, Fault]>([
    ['loses its answer', losesReply],
    ['hangs when it has landed', (apply) => apply().then(() => hangs(apply))],
  ])('%s is looked for, and found', async (_, fault) => {
    const first = await bench.begin();
    transactions.plan('commit', fault);
    const step = book(first.attempt);
    await pass(STORE_TIMEOUT);
    expect(await step).toBe('booked 1');
    expect(await afterFailure(first)).toBe('booked 1');
    expect(runs).toBe(1);
  });

  it('loses its answer belongs to another attempt that has the key by now', async () => {
    const { attempt, end } = await bench.begin();
    transactions.plan('commit', async () => {
      await takeKeyAway();
      throw new Error('ECONNRESET');
    });
    expect(await outcomeOf(book(attempt))).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(attempt.signal.aborted).toBe(true);
    end(RELEASE);
  });

  it('loses its answer is undone where another attempt has come and failed meanwhile', async () => {
    const { attempt, end, answer } = await bench.begin();
    transactions.plan('commit', async () => {
      const claim = await takeKeyAway();
      const steps = new Steps(bench.operation().fingerprint, 1_000);
      steps.finish(steps.ask('book'), 'booked elsewhere');
      await bench.store.keepSteps(claim, steps.encode());
      await bench.store.release(claim);
      throw new Error('ECONNRESET');
    });
    expect(await outcomeOf(book(attempt))).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(await outcomeOf(attempt.step('mail', () => 'sent'))).toBe('IDEMPOTENCY_IN_PROGRESS');
    end(RELEASE);
    await answer;
    const retry = await bench.begin();
    expect(await book(retry.attempt)).toBe('booked elsewhere');
    retry.end('done');
  });

  it('cannot be looked for is not overwritten by a step that runs beside it', async () => {
    const first = await bench.begin();
    transactions.plan('commit', losesReply);
    bench.store.plan('renew', fails);
    let charged: (receipt: string) => void = () => {};
    const step = book(first.attempt);
    const beside = first.attempt.step('charge', () => new Promise((done) => (charged = done)));
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    charged('receipt');
    expect(await outcomeOf(beside)).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(await afterFailure(first)).toBe('booked 1');
    expect(runs).toBe(1);
  });

  it.each(['renew', 'claim'] as const)(
    'cannot be looked for ends the attempt, which could write steps without it (%s)',
    async (call) => {
      const first = await bench.begin();
      const { attempt } = first;
      transactions.plan('commit', losesReply);
      bench.store.plan(call, fails);
      const step = book(attempt);
      await expect(step).rejects.toMatchObject({
        code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
        message: expect.stringMatching(/not known whether/),
      });
      expect(attempt.signal.aborted).toBe(true);
      expect(await outcomeOf(attempt.step('mail', () => 'sent'))).toBe('IDEMPOTENCY_IN_PROGRESS');
      expect(await afterFailure(first)).toBe('booked 1');
      expect(runs).toBe(1);
    },
  );
});

describe('a step that takes longer than the lease', () => {
  it('keeps its connection and its lease', async () => {
    const first = await bench.begin();
    expect(await book(first.attempt, () => pass(3 * POLICY.leaseMs))).toBe('booked 1');
    expect(transactions.count('keepAlive')).toBe(9);
    expect(bench.store.count('renew')).toBeGreaterThan(6);
    expect(first.attempt.signal.aborted).toBe(false);
    expect(await afterFailure(first)).toBe('booked 1');
    await pass(POLICY.leaseMs);
    expect(transactions.count('keepAlive')).toBe(9);
  });

  it('fails alone when its connection is lost', async () => {
    const { attempt, end } = await bench.begin();
    transactions.plan('keepAlive', fails);
    transactions.plan('keepSteps', fails);
    const step = outcomeOf(book(attempt, () => pass(POLICY.leaseMs)));
    expect(await step).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    expect(transactions.count('keepAlive')).toBe(1);
    expect(attempt.signal.aborted).toBe(false);
    expect(await attempt.step('next', () => 'goes on')).toBe('goes on');
    end(RELEASE);
  });

  it('is rolled back when the attempt outlives its maxDuration', async () => {
    const { attempt, end } = await bench.begin({ maxDurationMs: 10_000 });
    const step = book(attempt, async () => {
      await pass(9_000);
      expect(transactions.count('rollback')).toBe(0);
      await pass(4_000);
      expect(transactions.count('rollback')).toBe(1);
    });
    transactions.plan('keepSteps', failsWith(new Error('rolled back')));
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    expect(attempt.signal.reason).toMatchObject({ message: expect.stringMatching(/maxDuration/) });
    end(RELEASE);
  });
});

describe('inside of a transaction that is not its own, an attempt with a lease', () => {
  it.each<[string, (attempt: Attempt) => Promise<unknown>]>([
    ["The step 'charge'", (attempt) => attempt.step('charge', () => (runs += 1))],
    ["The step 'book'", (attempt) => book(attempt)],
    ['once.effectStarted()', (attempt) => attempt.effectStarted()],
  ])('is told that it would be undone: %s', async (what, begin) => {
    const { attempt, end, answer } = await bench.begin();
    transactions.inside = true;
    const begun = begin(attempt);
    await expect(begun).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
    await expect(begun).rejects.toThrow(what);
    await expect(begun).rejects.toThrow('would be undone with it');
    transactions.inside = false;
    expect(runs).toBe(0);
    expect(transactions.calls).toEqual([]);
    expect(bench.store.history).toBe('init claim');
    end(RELEASE);
    await answer;
    expect(bench.told).toEqual(['onReleased']);
  });
});
