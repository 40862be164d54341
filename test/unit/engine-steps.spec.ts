import { storeUnavailable } from '../../src/engine/answers.js';
import type { Attempt } from '../../src/engine/attempt.js';
import type { Outcome } from '../../src/engine/operation.js';
import { Steps } from '../../src/engine/steps.js';
import {
  Bench,
  complete,
  isPending,
  pass,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  useFakeTime,
} from '../support/engine/bench.js';
import {
  fails,
  hangs,
  late,
  losesReply,
  passes,
  type Fault,
} from '../support/engine/probe-store.js';

useFakeTime();

/** Work made of steps whose runs are counted, and which fails where it is told to. */
function recipe() {
  const ran: string[] = [];
  const work =
    (steps: readonly string[], failAfter?: string) =>
    async (attempt: Attempt): Promise<Outcome> => {
      const results: string[] = [];
      for (const name of steps) {
        results.push(
          await attempt.step(name, async () => {
            ran.push(name);
            return `${name} ${attempt.attempt}`;
          }),
        );
        if (name === failAfter) {
          return RELEASE;
        }
      }
      return complete(results.join(', '));
    };
  return { ran, work };
}

/** What a step answered or threw. */
const outcomeOf = (step: Promise<unknown>): Promise<unknown> =>
  step.then(
    (value) => value,
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );

describe('an attempt after one that failed', () => {
  it('resumes behind the finished steps', async () => {
    const bench = await Bench.started();
    const { ran, work } = recipe();
    await bench.work(work(['reserve', 'charge', 'mail'], 'charge'));
    expect(ran).toEqual(['reserve', 'charge']);
    expect(await bench.work(work(['reserve', 'charge', 'mail']))).toBe('executed');
    expect(ran).toEqual(['reserve', 'charge', 'mail']);
    expect(await bench.run('x')).toBe('replayed reserve 1, charge 1, mail 2');
  });

  it('resumes behind them after the process died as well', async () => {
    const bench = await Bench.started();
    const { ran, work } = recipe();
    const claim = await bench.claimedElsewhere(1_000);
    const steps = new Steps(bench.operation().fingerprint, 1_000);
    steps.finish(steps.ask('reserve'), 'reserved elsewhere');
    await bench.store.keepSteps(claim, steps.encode());
    await pass(1_000);
    expect(await bench.work(work(['reserve', 'charge']))).toBe('executed');
    expect(ran).toEqual(['charge']);
    expect(await bench.run('x')).toBe('replayed reserved elsewhere, charge 2');
  });

  it('runs a step again that threw', async () => {
    const bench = await Bench.started();
    let runs = 0;
    const work = async (attempt: Attempt): Promise<Outcome> => {
      const step = attempt.step('charge', () => {
        runs += 1;
        if (runs === 1) {
          throw new Error('declined');
        }
        return 'charged';
      });
      return (await outcomeOf(step)) === 'declined' ? RELEASE : complete('charged');
    };
    await bench.work(work);
    expect(bench.store.count('keepSteps')).toBe(0);
    expect(await bench.work(work)).toBe('executed');
    expect(runs).toBe(2);
  });

  it('may ask for steps side by side', async () => {
    const bench = await Bench.started();
    const ran: string[] = [];
    const work =
      (broken?: string) =>
      async (attempt: Attempt): Promise<Outcome> => {
        const one = (name: string) =>
          attempt.step(name, async () => {
            if (name === broken) {
              throw new Error('broken');
            }
            ran.push(name);
            return name;
          });
        const all = await Promise.allSettled(['a', 'b', 'c'].map(one));
        return all.some(({ status }) => status === 'rejected') ? RELEASE : complete('done');
      };
    await bench.work(work('b'));
    expect(await bench.work(work())).toBe('executed');
    expect(ran).toEqual(['a', 'c', 'b']);
  });

  it('is told when the request is another one, and the steps stay', async () => {
    const bench = await Bench.started();
    const { ran, work } = recipe();
    await bench.work(work(['reserve', 'charge'], 'reserve'), { payload: 1 });
    expect(await bench.work(work(['reserve']), { payload: 2 })).toBe('KEY_REUSED');
    expect(await bench.record).toBeNull();
    expect(await bench.work(work(['reserve', 'charge']), { payload: 1 })).toBe('executed');
    expect(ran).toEqual(['reserve', 'charge']);
  });

  it('is told when the steps cannot be read, and runs nothing', async () => {
    const bench = await Bench.started();
    const claim = await bench.claimedElsewhere(1_000);
    await bench.store.keepSteps(claim, Buffer.from('garbage that is long enough'));
    await bench.store.release(claim);
    expect(await bench.run('x')).toBe('RECORD_UNREADABLE');
    expect([bench.runs, await bench.record]).toEqual([0, null]);
  });
});

describe('steps that changed between attempts', () => {
  it.each([
    ['renamed', ['reserve', 'pay']],
    ['reordered', ['charge', 'reserve']],
    ['left out', ['reserve']],
    ['all left out', []],
    ['repeated', ['reserve', 'charge', 'charge']],
  ])('(%s) fail the attempt, and the key is released with its steps', async (_, steps) => {
    const bench = await Bench.started();
    const { ran, work } = recipe();
    await bench.work(work(['reserve', 'charge'], 'charge'));
    const answer = bench.work(async (attempt) => {
      try {
        return await work(steps)(attempt);
      } catch {
        return complete('as if nothing had happened');
      }
    });
    expect(await answer).toBe('STEPS_CHANGED');
    expect(await bench.record).toBeNull();
    expect(bench.events.at(-1)).toEqual({ hook: 'onRejected', code: 'IDEMPOTENCY_STEPS_CHANGED' });
    expect(await bench.work(work(['reserve', 'charge']))).toBe('executed');
    expect(ran).toEqual(['reserve', 'charge']);
  });

  it('let nothing more begin, whatever the handler makes of the error', async () => {
    const bench = await Bench.started();
    const { ran, work } = recipe();
    await bench.work(work(['reserve'], 'reserve'));
    const answer = bench.work(async (attempt) => {
      const steps = ['changed', 'reserve', 'new'].map((name) =>
        outcomeOf(attempt.step(name, () => ran.push(name))),
      );
      expect(new Set(await Promise.all(steps))).toEqual(new Set(['IDEMPOTENCY_STEPS_CHANGED']));
      expect(await outcomeOf(attempt.effectStarted())).toBe('IDEMPOTENCY_STEPS_CHANGED');
      return complete('as if nothing had happened');
    });
    expect(await answer).toBe('STEPS_CHANGED');
    expect(ran).toEqual(['reserve']);
    expect(await bench.work(work(['reserve', 'charge']))).toBe('executed');
  });

  it('do not matter to an attempt that failed before it came to them', async () => {
    const bench = await Bench.started();
    const { work } = recipe();
    await bench.work(work(['reserve', 'charge'], 'charge'));
    const { returned: _returned, ...failure } = complete('a stored failure');
    expect(await bench.run(failure as Outcome)).toBe('executed');
    expect(await bench.run('x')).toBe('replayed a stored failure');
  });

  it('matter to a result that cannot be kept as well', async () => {
    const bench = await Bench.started();
    const { work } = recipe();
    await bench.work(work(['reserve', 'charge'], 'charge'));
    expect(await bench.run({ ...TOMBSTONE, returned: true } as Outcome)).toBe('STEPS_CHANGED');
  });

  it('give way to the outcome of an attempt that has taken the key', async () => {
    const bench = await Bench.started();
    const { work } = recipe();
    await bench.work(work(['reserve'], 'reserve'));
    const stale = await bench.begin();
    bench.store.breakDown(fails, 'renew');
    await pass(6_000);
    expect(await bench.work(work(['reserve']))).toBe('executed');
    stale.end(complete('without steps'));
    expect(await stale.answer).toBe('replayed reserve 1');
  });
});

describe('a step', () => {
  it('is durable when it has answered', async () => {
    const bench = await Bench.started();
    bench.store.plan('keepSteps', late(500));
    const { attempt, end } = await bench.begin();
    const step = attempt.step('charge', () => 'charged');
    expect(await isPending(step)).toBe(true);
    await pass(500);
    expect(await step).toBe('charged');
    end(RELEASE);
  });

  it('whose result cannot be kept gives it to its caller, and is never run again', async () => {
    const bench = await Bench.started();
    let runs = 0;
    const once = await bench.begin();
    const charge = (attempt: Attempt) =>
      attempt.step('charge', () => {
        runs += 1;
        return () => 'a function';
      });
    expect((await charge(once.attempt))()).toBe('a function');
    once.end(RELEASE);
    await once.answer;
    const retry = await bench.begin();
    expect(await outcomeOf(charge(retry.attempt))).toBe('IDEMPOTENCY_RESULT_UNAVAILABLE');
    expect(runs).toBe(1);
    retry.end(RELEASE);
  });

  it.each([fails, losesReply])('is kept in spite of a store that stumbles (%#)', async (fault) => {
    const bench = await Bench.started();
    const { ran, work } = recipe();
    bench.store.plan('keepSteps', fault, fault);
    const first = bench.work(work(['charge', 'mail'], 'charge'));
    await pass(STORE_TIMEOUT);
    expect(await first).toBe('executed');
    expect(bench.store.count('keepSteps')).toBe(3);
    expect(await bench.work(work(['charge', 'mail']))).toBe('executed');
    expect(ran).toEqual(['charge', 'mail']);
  });

  it('is kept in spite of a store that says itself that it is down', async () => {
    const bench = await Bench.started();
    const down = storeUnavailable(new Error('ECONNREFUSED'));
    const saysSo: Fault = () => Promise.reject(down);
    bench.store.plan('keepSteps', saysSo);
    const { attempt, end } = await bench.begin();
    const step = attempt.step('charge', () => 'charged');
    await pass(STORE_TIMEOUT);
    expect(await step).toBe('charged');

    bench.store.breakDown(saysSo, 'keepSteps');
    const next = outcomeOf(attempt.step('mail', () => 'sent'));
    await pass(STORE_TIMEOUT);
    expect(await next).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    end(RELEASE);
  });

  it.each([
    ['is away', fails],
    ['hangs', hangs],
  ])('is not taken for done while the store %s, within its time', async (_, fault) => {
    const bench = await Bench.started();
    bench.store.breakDown(fault, 'keepSteps');
    const { attempt, end, answer } = await bench.begin();
    const step = outcomeOf(attempt.step('charge', () => 'charged'));
    await pass(STORE_TIMEOUT);
    expect(await step).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    bench.store.heal();
    end(RELEASE);
    expect(await answer).toBe('executed');
    expect(await bench.run('x')).toBe('executed');
  });

  it('that was slow to be kept does not undo a later one', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.store.plan('keepSteps', late(STORE_TIMEOUT * 1.5));
    const slow = outcomeOf(attempt.step('slow', () => 1));
    await pass(STORE_TIMEOUT);
    expect(await slow).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    const next = attempt.step('next', () => 2);
    await pass(STORE_TIMEOUT);
    expect(await next).toBe(2);
    end(RELEASE);
    await answer;
    const retry = await bench.begin();
    const again = () => Promise.reject(new Error('must not run again'));
    expect(await retry.attempt.step('slow', again)).toBe(1);
    expect(await retry.attempt.step('next', again)).toBe(2);
    retry.end(RELEASE);
  });

  it.each([
    ['without a name', '', () => 1],
    ['with a name that is none', 1 as unknown as string, () => 1],
    ['without a function', 'charge', 1 as unknown as () => number],
  ])('%s is refused', async (_, name, work) => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    await expect(attempt.step(name, work)).rejects.toThrow("Write once.step('charge', () => …).");
    end(RELEASE);
  });

  it('inside of another one is refused: a retry would not come to it', async () => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    const inner = attempt.step('outer', () => attempt.step('inner', () => 1));
    await expect(inner).rejects.toThrow("The step 'inner' was asked for inside of another one");
    expect(bench.store.count('keepSteps')).toBe(0);
    end(RELEASE);
  });

  it('of another attempt may be inside of one', async () => {
    const bench = await Bench.started();
    const [a, b] = [await bench.begin({ key: 'a' }), await bench.begin({ key: 'b' })];
    expect(await a.attempt.step('outer', () => b.attempt.step('inner', () => 1))).toBe(1);
    a.end(RELEASE);
    b.end(RELEASE);
  });

  it('that runs without protection is not recorded', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'claim', 'keepSteps', 'startEffect');
    await pass(60_000); // no lease of a minute ago holds it up
    const answer = bench.work(
      async (attempt) => {
        await attempt.effectStarted();
        return attempt.step('charge', () => 'charged');
      },
      { onStoreFailure: 'open' },
    );
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('unprotected');
    expect(bench.store.count('keepSteps')).toBe(0);
    expect(bench.store.count('startEffect')).toBe(0);
  });
});

describe('an attempt that has lost its claim', () => {
  const refused = async (bench: Bench, attempt: Attempt): Promise<void> => {
    let ran = false;
    const step = outcomeOf(attempt.step('late', () => (ran = true)));
    expect([await step, ran]).toEqual(['IDEMPOTENCY_IN_PROGRESS', false]);
    expect(await outcomeOf(attempt.effectStarted())).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(bench.store.count('startEffect')).toBe(0);
  };

  it('begins no step once it knows', async () => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    bench.store.breakDown(fails, 'renew');
    await pass(7_500);
    await refused(bench, attempt);
    end(RELEASE);
  });

  it('begins no step when by its own clock the lease is over, though no timer has run', async () => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    attempt.confirmedAt -= 6_001;
    await refused(bench, attempt);
    expect(attempt.signal.aborted).toBe(true);
    end(RELEASE);
  });

  it('records no step that ends later', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    let winner: Awaited<ReturnType<Bench['begin']>> | undefined;
    const step = attempt.step('charge', async () => {
      bench.skew = 6_000;
      winner = await bench.begin();
      return 'charged by a zombie';
    });
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(attempt.signal.aborted).toBe(true);
    end(RELEASE);
    await answer;
    winner?.end(RELEASE);
    await winner?.answer;
    const { ran, work } = recipe();
    expect(await bench.work(work(['charge']))).toBe('executed');
    expect(ran).toEqual(['charge']);
  });

  it('records its step all the same when nobody took the key', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    for (const name of ['one', 'two']) {
      const step = attempt.step(name, () => {
        bench.skew += 6_000;
        return name;
      });
      expect(await step).toBe(name);
    }
    end(RELEASE);
    expect(await answer).toBe('executed');
    const { ran, work } = recipe();
    expect(await bench.work(work(['one', 'two']))).toBe('executed');
    expect(ran).toEqual([]);
  });

  it('does not put its steps in the place of those of an attempt that came and failed', async () => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    const other = recipe();
    bench.store.plan('release', passes, losesReply);
    const step = attempt.step('charge', async () => {
      bench.skew = 6_000;
      await bench.work(other.work(['charge', 'mail'], 'charge'));
      return 'charged by a zombie';
    });
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(await bench.record).toBeNull();
    end(RELEASE);
    expect(await bench.work(other.work(['charge', 'mail']))).toBe('executed');
    expect(await bench.run('x')).toBe('replayed charge 2, mail 4');
  });

  it('gives way to an attempt that takes the key while it claims it anew', async () => {
    const bench = await Bench.started();
    const { attempt, end } = await bench.begin();
    let winner: Awaited<ReturnType<Bench['begin']>> | undefined;
    bench.store.plan('keepSteps', async (apply) => {
      bench.skew = 6_000;
      const lost = await apply();
      winner = await bench.begin();
      return lost;
    });
    const step = attempt.step('charge', () => 'charged');
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_IN_PROGRESS');
    end(RELEASE);
    winner?.end('theirs');
    expect(await winner?.answer).toBe('executed');
  });
});

describe('an attempt that is over', () => {
  it('begins nothing any more', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    end('done');
    await answer;
    let ran = false;
    const step = attempt.step('late', () => (ran = true));
    await expect(step).rejects.toThrow('Await it before the handler returns.');
    await expect(attempt.effectStarted()).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISCONFIGURED',
    });
    expect(ran).toBe(false);
  });

  it('does not take its key back for a step that nobody waited for', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    let finish: (text: string) => void = () => {};
    const step = outcomeOf(attempt.step('left', () => new Promise((done) => (finish = done))));
    end(RELEASE);
    await answer;
    finish('too late');
    expect(await step).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(bench.store.count('claim')).toBe(1);
    expect(await bench.record).toBeNull();
  });

  it('gives a key back that it took for a step while it ended', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin();
    bench.store.plan('claim', async (apply) => {
      end(RELEASE);
      await answer;
      return apply();
    });
    const step = attempt.step('charge', () => {
      bench.skew = 6_000;
      return 'charged';
    });
    expect(await outcomeOf(step)).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(await bench.record).toBeNull();
  });
});
