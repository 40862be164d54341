import { IdempotencyError } from '../../src/engine/errors.js';
import { escapeSentence } from '../../src/engine/escape-report.js';
import type { Outcome } from '../../src/engine/operation.js';
import {
  Bench,
  complete,
  failed,
  pass,
  POLICY,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  isPending,
  useFakeTime,
  type Answer,
  type OperationOptions,
} from '../support/engine/bench.js';
import {
  fails,
  failsWith,
  hangs,
  late,
  losesReply,
  passes,
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

const MODE = { mode: 'transactional' } as const;
const repeatable = (text: string): Outcome => ({ ...complete(text), repeatable: true }) as Outcome;

const run = (end: Outcome | string = 'done', options: OperationOptions = {}): Promise<Answer> =>
  bench.run(end, { ...MODE, ...options });
const begin = (options: OperationOptions = {}) => bench.begin({ ...MODE, ...options });

describe('an operation with its effects', () => {
  it('is committed with its outcome, and replayed', async () => {
    expect(await run('mine')).toBe('executed');
    expect(await run('second')).toBe('replayed mine');
    expect(transactions.calls).toEqual(['begin', 'complete', 'commit', 'begin']);
    expect(bench.events).toEqual([
      { hook: 'onExecuted', attempt: 1, stored: true },
      { hook: 'onReplayed' },
    ]);
  });

  it('is committed without its outcome where that cannot be kept', async () => {
    expect(await run({ ...TOMBSTONE, returned: true } as Outcome)).toBe('executed');
    expect(await run('second')).toBe('RESULT_UNAVAILABLE');
    expect(bench.events[0]).toEqual({ hook: 'onExecuted', attempt: 1, stored: false });
  });

  it.each([
    ['released', RELEASE],
    ['in doubt', UNCERTAIN],
  ])('leaves nothing when it is %s', async (_, outcome) => {
    expect(await run(outcome)).toBe('executed');
    expect(transactions.count('rollback')).toBe(1);
    expect(bench.told).toEqual(['onReleased']);
    expect(await run('second')).toBe('executed');
  });

  it('is rolled back when it throws what is nobody’s outcome', async () => {
    const answer = bench.work(async () => Promise.reject(new Error('bug')), MODE);
    expect(await answer).toBe('error: bug');
    expect(transactions.count('rollback')).toBe(1);
  });

  it('can be undone before anybody is told of its failure', async () => {
    const { attempt, end, answer } = await begin();
    await attempt.undo();
    expect(transactions.count('rollback')).toBe(1);
    end(failed(complete('sold out')));
    expect(await answer).toBe('executed');
    expect(transactions.count('rollback')).toBe(1);
    expect(await run('second')).toBe('replayed sold out');
  });

  it('undoes a failure that is kept, and replays it', async () => {
    expect(await run(failed(complete('sold out')))).toBe('executed');
    expect(transactions.calls).toEqual(['begin', 'rollback']);
    expect(await run('second')).toBe('replayed sold out');
  });

  it('answers the outcome of whoever was faster than its failure', async () => {
    const { answer, end } = await begin();
    const { fingerprint } = bench.operation();
    const theirs = await bench.claimedElsewhere(10_000, fingerprint);
    const { result } = complete('theirs') as { result: Uint8Array };
    await bench.store.complete({ ...theirs, result, ttlMs: POLICY.ttlMs });
    end(failed(complete('mine')));
    expect(await answer).toBe('replayed theirs');
  });

  it('does not keep a failure while somebody else is at the key, or the store is away', async () => {
    const other = await begin({ key: 'other' });
    other.end(failed(complete('sold out')));
    bench.store.plan('claim', fails);
    expect(await other.answer).toBe('executed');
    const { answer, end } = await begin();
    await bench.claimedElsewhere(10_000);
    end(TOMBSTONE);
    expect(await answer).toBe('executed');
    expect(bench.told).toEqual(['onReleased', 'onReleased']);
  });

  it('is refused on a store without transactions', async () => {
    const other = await Bench.started();
    expect(await other.run('mine', MODE)).toBe('MISCONFIGURED');
    expect(other.runs).toBe(0);
    expect(other.told).toEqual(['onRejected']);
  });

  it('is refused before the application was initialised', async () => {
    expect(await new Bench().run('mine', MODE)).toBe('MISCONFIGURED');
  });

  it('does not run for a key that is too old, and leaves it free', async () => {
    const key = `0000${'0'.repeat(4)}-0000-7000-8000-000000000000`;
    expect(await run('mine', { key })).toBe('KEY_EXPIRED');
    expect(bench.runs).toBe(0);
    expect(transactions.calls).toEqual(['begin', 'rollback']);
  });

  it('never asks to run again what is not part of a transaction', async () => {
    const { attempt, end, answer } = await bench.begin();
    expect(attempt.runsAgain(conflict)).toBe(false);
    await attempt.undo();
    end('done');
    await answer;
  });
});

describe('a transaction that cannot be opened', () => {
  it('means that nothing runs', async () => {
    transactions.plan('begin', fails);
    expect(await run()).toBe('STORE_UNAVAILABLE');
    expect(bench.runs).toBe(0);
    expect(await run()).toBe('executed');
  });

  it('says so when the store is set up wrongly', async () => {
    transactions.plan(
      'begin',
      failsWith(new IdempotencyError('IDEMPOTENCY_MISCONFIGURED', 'no table')),
    );
    expect(await run()).toBe('MISCONFIGURED');
  });

  it('tells an outage in its own words', async () => {
    const cause = new Error('ECONNREFUSED');
    const outage = new IdempotencyError('IDEMPOTENCY_STORE_UNAVAILABLE', 'no', { cause });
    transactions.plan('begin', failsWith(outage));
    const answer = bench.engine.run(bench.operation(MODE), async () => RELEASE);
    await expect(answer).rejects.toMatchObject({ code: outage.code, cause });
  });

  it.each([
    ['opens', 'executed', []],
    ['fails', 'executed', []],
    ['finds an outcome', 'replayed mine', ['mine']],
  ])('in time is ended when it %s later', async (how, then, before) => {
    for (const text of before) await run(text);
    const rollbacks = transactions.count('rollback');
    transactions.plan('begin', async (apply) => {
      await late(2 * STORE_TIMEOUT)(async () => undefined);
      return how === 'fails' ? fails(apply) : apply();
    });
    const answer = run();
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('STORE_UNAVAILABLE');
    await pass(2 * STORE_TIMEOUT);
    expect(transactions.count('rollback') - rollbacks).toBe(how === 'opens' ? 1 : 0);
    expect(await run('second')).toBe(then);
  });

  it('and then cannot be rolled back is left to the database', async () => {
    transactions.plan('begin', late(2 * STORE_TIMEOUT));
    transactions.plan('rollback', fails);
    const answer = run();
    await pass(3 * STORE_TIMEOUT);
    expect(await answer).toBe('STORE_UNAVAILABLE');
  });
});

describe('a transaction that cannot be completed', () => {
  it.each<[string, Error, string]>([
    ['after an error that the work swallowed', refusal, 'TRANSACTION_BROKEN'],
    ['because of others', conflict, 'TRANSACTION_CONFLICT'],
    ['because its connection is gone', new Error('ECONNRESET'), 'STORE_UNAVAILABLE'],
    [
      'for a reason that has a name',
      new IdempotencyError('IDEMPOTENCY_TRANSACTION_BROKEN', 'left open'),
      'TRANSACTION_BROKEN',
    ],
  ])('%s fails, and leaves nothing', async (_, error, code) => {
    transactions.plan('complete', failsWith(error));
    expect(await run()).toBe(code);
    expect(transactions.count('rollback')).toBe(1);
    expect(bench.told).toEqual(['onRejected']);
    expect(await run()).toBe('executed');
  });

  it('runs again after a conflict when nobody has been told', async () => {
    transactions.plan('complete', failsWith(conflict), passes);
    const answer = run(repeatable('mine'));
    await pass(100);
    expect(await answer).toBe('executed');
    expect(bench.runs).toBe(2);
    expect(await run()).toBe('replayed mine');
  });

  it('is given up after the fourth conflict', async () => {
    const again = failsWith(conflict);
    transactions.plan('complete', again, again, again, again);
    const answer = run(repeatable('mine'));
    await pass(1_000);
    expect(await answer).toBe('TRANSACTION_CONFLICT');
    expect(bench.runs).toBe(4);
  });
});

describe('work that conflicts with others', () => {
  const conflicts = (times: number, outcome: Outcome = RELEASE) =>
    bench.work(async (attempt) => {
      if (bench.runs > times) return 'mine';
      return attempt.runsAgain(conflict) ? { type: 'again' } : outcome;
    }, MODE);

  it('runs again', async () => {
    const answer = conflicts(3);
    await pass(1_000);
    expect(await answer).toBe('executed');
    expect(bench.runs).toBe(4);
    expect(transactions.count('rollback')).toBe(3);
  });

  it.each([
    ['released', RELEASE],
    ['kept', failed(complete('deadlock'))],
  ])('is told to come again when it never succeeds, though its failure is %s', async (_, end) => {
    const answer = conflicts(10, end);
    await pass(1_000);
    expect(await answer).toBe('TRANSACTION_CONFLICT');
    expect(bench.runs).toBe(4);
    expect(await run('second')).toBe('executed');
  });

  it('is answered with the outcome of who was in its way', async () => {
    const answer = bench.work(async () => {
      await transactions.store.claim(claimOfAnother());
      await transactions.store.complete({
        ...claimOfAnother(),
        ttlMs: 1_000,
        result: recordedTheirs(),
      });
      return { type: 'again' };
    }, MODE);
    await pass(100);
    expect(await answer).toBe('replayed theirs');
  });

  it('is told when who was in its way is still at it', async () => {
    const answer = bench.work(async () => {
      transactions.busy.add('another');
      transactions.plan('begin', async () => ({ type: 'busy' }) as never);
      return { type: 'again' };
    }, MODE);
    await pass(100);
    expect(await answer).toBe('IN_PROGRESS');
  });

  it('is not run again as a part of a transaction, which has to begin anew itself', async () => {
    transactions.inside = true;
    expect(await conflicts(10)).toBe('executed');
    expect(bench.runs).toBe(1);
  });
});

describe('a commit whose answer is lost', () => {
  it('is known by its owner', async () => {
    transactions.plan('commit', losesReply);
    expect(await run('mine')).toBe('executed');
    expect(await run('second')).toBe('replayed mine');
    expect(bench.told).toEqual(['onExecuted', 'onReplayed']);
  });

  it('is waited for while it is still under way', async () => {
    transactions.plan('commit', fails);
    const busy = async () => ({ type: 'busy' }) as never;
    const { end, answer } = await begin();
    transactions.plan('begin', busy, busy);
    end('mine');
    await pass(100);
    expect(await answer).toBe('STORE_UNAVAILABLE');
    expect(transactions.count('begin')).toBe(4);
    expect(await run('second')).toBe('executed');
  });

  it('counts as lost when it takes longer than the store may', async () => {
    transactions.plan('commit', hangs);
    const answer = run('mine');
    await pass(2 * STORE_TIMEOUT);
    expect(await answer).toBe('STORE_UNAVAILABLE');
  });

  it.each<[string, Error, string]>([
    ['the database refused', refusal, 'TRANSACTION_BROKEN'],
    ['others were in the way', conflict, 'TRANSACTION_CONFLICT'],
  ])('has not happened when %s', async (_, error, code) => {
    transactions.plan('commit', failsWith(error));
    expect(await run('mine')).toBe(code);
    expect(await run('second')).toBe('executed');
  });

  it('is tried anew when others were in the way and nobody has been told', async () => {
    transactions.plan('commit', failsWith(conflict), passes);
    const answer = run(repeatable('mine'));
    await pass(100);
    expect(await answer).toBe('executed');
    expect(bench.runs).toBe(2);
  });

  it('has not happened when another attempt has the record', async () => {
    const { end, answer } = await begin();
    transactions.plan('commit', fails);
    await transactions.store.claim(claimOfAnother());
    end('mine');
    expect(await answer).toBe('STORE_UNAVAILABLE');
  });

  it('is an open question while the store is away', async () => {
    const { end, answer } = await begin();
    transactions.plan('commit', losesReply);
    transactions.plan('begin', ...Array.from({ length: 100 }, () => fails));
    end('mine');
    await pass(2 * STORE_TIMEOUT);
    expect(await answer).toBe('STORE_UNAVAILABLE');
    transactions.plan('begin');
    expect(await run('second')).toBe('replayed mine');
  });

  it('is for the whole to find out where it was the end of a part', async () => {
    transactions.inside = true;
    transactions.plan('commit', fails);
    expect(await run('mine')).toBe('STORE_UNAVAILABLE');
    expect(transactions.count('begin')).toBe(1);
  });
});

describe('work that commits by itself', () => {
  const leaves = (end: Outcome | string) =>
    bench.work(async () => {
      await transactions.current!.leave();
      return end;
    }, MODE);

  it.each([
    ['its outcome', 'mine' as const, 'replayed mine', true],
    ['that it was done', { ...TOMBSTONE, returned: true } as Outcome, 'RESULT_UNAVAILABLE', false],
  ])('adds %s to its record', async (_, end, then, stored) => {
    expect(await leaves(end)).toBe('executed');
    expect(await run('second')).toBe(then);
    expect(bench.events.slice(0, 2)).toEqual([
      { hook: 'onEscaped', escape: 'ended' },
      { hook: 'onExecuted', attempt: 1, stored },
    ]);
  });

  it.each([fails, async () => false as never])(
    'answers all the same when its outcome cannot be added',
    async (fault) => {
      bench.store.plan('resolve', fault);
      expect(await leaves('mine')).toBe('executed');
      expect(bench.events.at(-1)).toEqual({ hook: 'onRecordingFailed', attempt: 1, final: true });
      expect(await run('second')).toBe('OUTCOME_UNCERTAIN');
    },
  );

  it('is in doubt when it succeeds where that is refused', async () => {
    const answer = bench.work(
      async () => {
        await transactions.current!.leave();
        return 'mine';
      },
      { ...MODE, strict: true },
    );
    expect(await answer).toBe('TRANSACTION_BROKEN');
    expect(bench.told).toEqual(['onEscaped', 'onUncertain', 'onRejected']);
    expect(await run('second')).toBe('OUTCOME_UNCERTAIN');
  });

  it.each([RELEASE, failed(complete('no'))])('is in doubt when it fails', async (end) => {
    expect(await leaves(end)).toBe('executed');
    expect(bench.told).toEqual(['onUncertain']);
    expect(await run('second')).toBe('OUTCOME_UNCERTAIN');
  });
});

describe('work that leaves its transaction', () => {
  const escapes = (end: Outcome | string, strict: boolean) =>
    bench.work(
      async () => {
        try {
          transactions.watch('outside');
        } catch {
          // the handler may be careless
        }
        return end;
      },
      { ...MODE, strict },
    );

  it('is told of, and goes on', async () => {
    expect(await escapes('mine', false)).toBe('executed');
    expect(bench.told).toEqual(['onEscaped', 'onExecuted']);
    expect(bench.events[0]).toEqual({ hook: 'onEscaped', escape: 'outside' });
  });

  it.each([
    ['succeeds', 'mine'],
    ['fails', RELEASE],
    ['fails in a way that is kept', failed(complete('no'))],
  ])('fails where that is strict, also when it %s', async (_, end) => {
    expect(await escapes(end, true)).toBe('TRANSACTION_BROKEN');
    expect(transactions.count('rollback')).toBe(1);
    expect(transactions.count('commit')).toBe(0);
    expect(await run('second')).toBe('executed');
  });

  it('is described in a sentence for each way', () => {
    for (const escape of ['outside', 'unfinished', 'late', 'ended'] as const) {
      expect(escapeSentence(escape)).toMatch(/^(sent|ended) .+\. .+\.$/);
    }
  });
});

describe('an operation that is a part of a transaction', () => {
  it('is told when the application goes, and what is around it decides', async () => {
    transactions.inside = true;
    const { attempt, end, answer } = await begin();
    const { signal } = attempt;
    await bench.engine.drain(0);
    expect(signal.aborted).toBe(true);
    end(RELEASE);
    expect(await answer).toBe('executed');
  });
});

describe('duplicates of an operation in flight', () => {
  it('are told at once, without a transaction', async () => {
    const first = await begin();
    expect(await run()).toBe('IN_PROGRESS');
    expect(await run('other', { payload: 'other' })).toBe('KEY_REUSED');
    expect(transactions.count('begin')).toBe(1);
    first.end('mine');
    expect(await first.answer).toBe('executed');
  });

  it('get the outcome that the first of them finds', async () => {
    await run('mine');
    transactions.plan('begin', late(100));
    const answers = [run(), run(), run('other', { payload: 'other' })];
    await pass(100);
    expect(await Promise.all(answers)).toEqual(['replayed mine', 'replayed mine', 'KEY_REUSED']);
    expect(transactions.count('begin')).toBe(2);
  });

  it('ask for themselves inside of a transaction, whose connection another may be waiting for', async () => {
    transactions.plan('begin', hangs);
    const first = run('mine');
    transactions.inside = true;
    expect(await run('inner')).toBe('executed');
    transactions.inside = false;
    await pass(STORE_TIMEOUT);
    expect(await first).toBe('STORE_UNAVAILABLE');
  });

  it('do not wait inside of a transaction', async () => {
    const other = await begin();
    transactions.inside = true;
    expect(await run('inner', { onConcurrent: 'wait' })).toBe('IN_PROGRESS');
    transactions.inside = false;
    other.end('mine');
    expect(await other.answer).toBe('executed');
  });

  it('are told what the first of them was told when it could not ask', async () => {
    transactions.plan('begin', failsWith(new Error('ECONNREFUSED')));
    expect(await Promise.all([run(), run()])).toEqual(Array(2).fill('STORE_UNAVAILABLE'));
    expect(transactions.count('begin')).toBe(1);
  });

  it('are in its way until it has failed, and then run, at whatever moment they come', async () => {
    const first = await begin();
    first.end(RELEASE);
    const answers: Promise<Answer>[] = [];
    for (let tick = 0; tick < 200; tick += 1) {
      answers.push(run('later', { payload: 'other' }));
      await Promise.resolve();
    }
    const inOrder = (await Promise.all(answers)).filter(
      (answer, at, all) => answer !== all[at - 1],
    );
    expect(inOrder).toEqual(['KEY_REUSED', 'executed', 'IN_PROGRESS', 'replayed later']);
    expect(bench.runs).toBe(2);
  });

  it('wait, and get the outcome', async () => {
    const first = await begin();
    const waiting = [run('a', { onConcurrent: 'wait' }), run('b', { onConcurrent: 'wait' })];
    expect(await isPending(Promise.race(waiting))).toBe(true);
    first.end('mine');
    expect(await Promise.all(waiting)).toEqual(['replayed mine', 'replayed mine']);
  });

  it('run, one of them, when the first one failed', async () => {
    const first = await begin();
    const waiting = [run('a', { onConcurrent: 'wait' }), run('b', { onConcurrent: 'wait' })];
    first.end(RELEASE);
    await pass(0);
    expect((await Promise.all(waiting)).sort()).toEqual(['executed', 'replayed a']);
  });

  it('wait no longer than they may', async () => {
    const first = await begin();
    const waiting = run('a', { onConcurrent: 'wait', waitTimeoutMs: 500 });
    await pass(500);
    expect(await waiting).toBe('IN_PROGRESS');
    first.end('mine');
  });

  it('wait no longer than the application runs', async () => {
    await begin();
    transactions.busy.add(bench.operation({ key: 'elsewhere' }).id);
    const waiting = [
      run('a', { onConcurrent: 'wait' }),
      run('b', { onConcurrent: 'wait', key: 'elsewhere' }),
    ];
    await pass(0);
    bench.engine.stop();
    await pass(0);
    expect(await Promise.all(waiting)).toEqual(['IN_PROGRESS', 'IN_PROGRESS']);
  });
});

describe('duplicates of an operation in another process', () => {
  it('are told at once when it is in a transaction', async () => {
    transactions.busy.add(bench.operation().id);
    expect(await run()).toBe('IN_PROGRESS');
  });

  it.each(['transaction', 'lease'])('wait for its %s, and only one asks', async (kind) => {
    const { id } = bench.operation();
    if (kind === 'transaction') transactions.busy.add(id);
    else await transactions.store.claim(claimOfAnother());
    const waiting = [1, 2, 3].map(() => run('a', { onConcurrent: 'wait' }));
    await pass(300);
    const asked = transactions.count('begin');
    expect(asked).toBeLessThan(12);
    transactions.busy.delete(id);
    await transactions.store.claim(claimOfAnother());
    await transactions.store.complete({
      ...claimOfAnother(),
      ttlMs: 1_000,
      result: recordedTheirs(),
    });
    await pass(300);
    expect(await Promise.all(waiting)).toEqual(Array(3).fill('replayed theirs'));
  });

  it('are told when they ask for something else', async () => {
    await bench.claimedElsewhere(10_000);
    expect(await run('a', { payload: 'other', onConcurrent: 'wait' })).toBe('KEY_REUSED');
  });

  it('wait no longer than they may', async () => {
    transactions.busy.add(bench.operation().id);
    const waiting = run('a', { onConcurrent: 'wait', waitTimeoutMs: 500 });
    await pass(600);
    expect(await waiting).toBe('IN_PROGRESS');
  });
});

describe('an owner that is busy elsewhere', () => {
  it('tells the database that it is there, and not twice at a time', async () => {
    const { end, answer } = await begin();
    await pass(POLICY.leaseMs);
    expect(transactions.count('keepAlive')).toBe(3);
    transactions.plan('keepAlive', hangs);
    await pass(2 * POLICY.leaseMs);
    expect(transactions.count('keepAlive')).toBe(4);
    end('mine');
    expect(await answer).toBe('executed');
    await pass(2 * POLICY.leaseMs);
    expect(transactions.count('keepAlive')).toBe(4);
  });

  it('is told when its connection is lost', async () => {
    const { attempt, end, answer } = await begin();
    transactions.plan('keepAlive', fails);
    await pass(POLICY.leaseMs);
    expect(attempt.signal.reason).toMatchObject({ message: expect.stringMatching(/was lost/) });
    expect(transactions.count('keepAlive')).toBe(1);
    end(RELEASE);
    await answer;
  });

  it('is rolled back when it outlives its maxDuration', async () => {
    const { attempt, end, answer } = await begin({ maxDurationMs: 10_000 });
    await pass(9_000);
    expect(attempt.signal.aborted).toBe(false);
    await pass(4_000);
    expect(attempt.signal.reason).toMatchObject({ message: expect.stringMatching(/maxDuration/) });
    expect(transactions.count('rollback')).toBe(1);
    // also when its work never ends
    expect(await answer).toBe('TRANSACTION_BROKEN');
    expect(bench.told).toEqual(['onLeaseLost', 'onRejected']);
    expect(await run('second')).toBe('executed');
    end('mine');
    expect(await run('third')).toBe('replayed second');
  });

  it('leaves that to the whole where it is a part', async () => {
    transactions.inside = true;
    const { end, answer } = await begin();
    await pass(POLICY.leaseMs);
    expect(transactions.count('keepAlive')).toBe(0);
    end('mine');
    expect(await answer).toBe('executed');
  });

  it('has no lease of its own to lose where it is a part', async () => {
    transactions.inside = true;
    const { attempt, end, answer } = await begin();
    await pass(2 * POLICY.leaseMs);
    expect(await attempt.step('elsewhere', () => 'done')).toBe('done');
    end('mine');
    expect(await answer).toBe('executed');
  });

  it('begins no step when it has lost its connection, though no timer has run', async () => {
    const { attempt, end, answer } = await begin();
    attempt.confirmedAt -= POLICY.leaseMs + 1;
    await expect(attempt.step('elsewhere', () => 'done')).rejects.toMatchObject({
      code: 'IDEMPOTENCY_IN_PROGRESS',
    });
    end(RELEASE);
    await answer;
  });
});

describe('an outcome that is in doubt', () => {
  beforeEach(async () => {
    const claim = await bench.claimedElsewhere(10_000);
    await bench.store.markUncertain(claim);
  });

  it.each([undefined, 'block'] as const)('is told (%s)', async (onUnknownOutcome) => {
    expect(await run('x', { onUnknownOutcome })).toBe('OUTCOME_UNCERTAIN');
    expect(bench.runs).toBe(0);
  });

  it('runs again where that is chosen', async () => {
    expect(await run('mine', { onUnknownOutcome: 'rerun' })).toBe('executed');
    expect(await run('x')).toBe('replayed mine');
  });

  it.each([
    ['absent' as const, 'executed'],
    ['done' as const, 'RESULT_UNAVAILABLE'],
    ['unknown' as const, 'OUTCOME_UNCERTAIN'],
    [{ result: 'theirs' }, 'replayed theirs'],
  ])('is what somebody knows of it: %j', async (verdict, answer) => {
    expect(await run('mine', { onUnknownOutcome: () => verdict })).toBe(answer);
  });

  it('is asked about by the same request only', async () => {
    const options = { payload: 'other', onUnknownOutcome: 'rerun' } as const;
    expect(await run('x', options)).toBe('KEY_REUSED');
    expect(await run('x')).toBe('OUTCOME_UNCERTAIN');
  });
});

describe('a shutdown', () => {
  it('lets go of what still runs when its time is over', async () => {
    const { attempt, end, answer } = await begin();
    const drained = bench.engine.drain(1_000);
    await pass(1_000);
    await drained;
    expect(attempt.signal.reason).toMatchObject({
      message: expect.stringMatching(/shutting down/),
    });
    expect(transactions.count('rollback')).toBe(1);
    // also when its work never ends
    expect(await answer).toBe('TRANSACTION_BROKEN');
    end('mine');
  });
});

it('makes a lease inside of a transaction a part of it', async () => {
  transactions.inside = true;
  expect(await bench.run('mine')).toBe('executed');
  expect(transactions.calls).toEqual(['begin', 'complete', 'commit']);
});

/** The claim of another process, in lease mode or after its commit. */
function claimOfAnother() {
  const { id, fingerprint } = bench.operation();
  const forPeople = { scope: null, operation: null, key: null };
  return { id, owner: 'f'.repeat(32), fingerprint, ...forPeople, leaseMs: 10_000, ttlMs: 10_000 };
}

function recordedTheirs(): Uint8Array {
  return (complete('theirs') as { result: Uint8Array }).result;
}
