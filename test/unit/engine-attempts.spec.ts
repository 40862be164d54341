import { isControlFlow } from '../../src/engine/control-flow.js';
import { decodeFailure, encodeFailure } from '../../src/engine/last-failure.js';
import type { AttemptsPolicy, Outcome } from '../../src/engine/operation.js';
import { Bench, pass, RELEASE, UNCERTAIN, useFakeTime } from '../support/engine/bench.js';
import { fails, losesReply, type Fault } from '../support/engine/probe-store.js';
import { transactionalBench } from '../support/engine/transactional-store.js';

useFakeTime();

const attempts: AttemptsPolicy = { max: 3, delayMs: () => 1, onExhausted: 'park' };
const UNCOUNTED: Outcome = { type: 'release', counted: false };
const failure = (message: string): Outcome => ({
  type: 'release',
  failure: encodeFailure(new TypeError(message)),
});

/** An attempt that died with its process. */
async function dies(bench: Bench): Promise<void> {
  await bench.begin({ attempts });
  bench.store.breakDown(fails, 'renew');
  await pass(6_000);
  bench.store.heal();
}

describe('counted attempts', () => {
  it('run until the last one has failed, and no more', async () => {
    const bench = await Bench.started();
    for (let n = 0; n < 3; n += 1) {
      expect(await bench.run(failure(`no. ${n + 1}`), { attempts })).toBe('executed');
    }
    expect(bench.told).toEqual(['onReleased', 'onReleased', 'onParked']);
    expect(await bench.run('late', { attempts })).toBe('PARKED');
    expect(bench.runs).toBe(3);
    const record = await bench.record;
    expect(record).toMatchObject({ state: 'parked', attemptsStarted: 3, attemptsFinished: 3 });
    expect(decodeFailure(record!.result)).toEqual({ name: 'TypeError', message: 'no. 3' });
  });

  it('are not limited where nobody says so', async () => {
    const bench = await Bench.started();
    for (let n = 0; n < 10; n += 1) {
      await bench.run(RELEASE);
    }
    expect(bench.runs).toBe(10);
    expect(bench.told).not.toContain('onParked');
  });

  it('tell the entry point of the one that parks', async () => {
    const bench = await Bench.started();
    const run = () =>
      bench.engine.run(bench.operation({ attempts: { ...attempts, max: 2 } }), async () => RELEASE);
    expect(await run()).toEqual({ type: 'executed' });
    expect(await run()).toEqual({ type: 'executed', parked: true });
  });

  it('may succeed at the last', async () => {
    const bench = await Bench.started();
    await bench.run(RELEASE, { attempts });
    await bench.run(RELEASE, { attempts });
    expect(await bench.run('done', { attempts })).toBe('executed');
    expect(await bench.run('x', { attempts })).toBe('replayed done');
  });

  it('are not those that do not count', async () => {
    const bench = await Bench.started();
    for (let n = 0; n < 10; n += 1) {
      await bench.run(UNCOUNTED, { attempts });
    }
    expect(bench.runs).toBe(10);
    expect((await bench.begin({ attempts })).attempt.attempt).toBe(1);
  });

  it('include those that died, and the next is not run', async () => {
    const bench = await Bench.started();
    for (let n = 0; n < 3; n += 1) {
      await dies(bench);
    }
    expect(await bench.run('x', { attempts })).toBe('PARKED');
    expect(bench.runs).toBe(3);
    expect(bench.told.at(-2)).toBe('onParked');
    expect(bench.told.at(-1)).toBe('onRejected');
    expect(await bench.record).toMatchObject({ state: 'parked', result: null });
  });

  it('that died are parked by a later one when the store was away', async () => {
    const bench = await Bench.started();
    for (let n = 0; n < 3; n += 1) {
      await dies(bench);
    }
    bench.store.plan('park', fails);
    expect(await bench.run('x', { attempts })).toBe('STORE_UNAVAILABLE');
    await pass(6_000);
    expect(await bench.run('x', { attempts })).toBe('PARKED');
    expect(bench.runs).toBe(3);
  });

  it.each([
    ['somebody has redriven it', 'IN_PROGRESS', null],
    ['it is parked already', 'PARKED', { state: 'parked' }],
  ])('are not parked again where %s', async (_case, code, record) => {
    const bench = await Bench.started();
    for (let n = 0; n < 3; n += 1) {
      await dies(bench);
    }
    bench.store.plan('park', (async () => ({ applied: false, record })) as unknown as Fault);
    expect(await bench.run('x', { attempts })).toBe(code);
    expect(bench.told).not.toContain('onParked');
    expect(bench.runs).toBe(3);
  });

  it('leave an uncertain outcome uncertain', async () => {
    const bench = await Bench.started();
    expect(await bench.run(UNCERTAIN, { attempts: { ...attempts, max: 1 } })).toBe('executed');
    expect((await bench.record)?.state).toBe('uncertain');
  });

  it('past the point of no return are uncertain, not parked', async () => {
    const bench = await Bench.started();
    const { attempt, end, answer } = await bench.begin({ attempts: { ...attempts, max: 1 } });
    await attempt.effectStarted();
    end(RELEASE);
    await answer;
    expect((await bench.record)?.state).toBe('uncertain');
  });

  it('are parked once, also when the reply got lost', async () => {
    const bench = await Bench.started();
    bench.store.plan('park', losesReply);
    expect(await bench.run(failure('x'), { attempts: { ...attempts, max: 1 } })).toBe('executed');
    await pass(1_000);
    expect(bench.told).toEqual(['onRecordingFailed', 'onParked']);
    expect(await bench.record).toMatchObject({ state: 'parked', attemptsFinished: 1 });
  });

  it('begin anew, behind their steps, when the record is redriven', async () => {
    const bench = await Bench.started();
    const once = { attempts: { ...attempts, max: 1 } };
    await bench.work(async (attempt) => {
      await attempt.step('charge', () => 'charged');
      return RELEASE;
    }, once);
    await bench.store.resolve(bench.operation().id, 'absent');
    const { attempt, end } = await bench.begin(once);
    expect(attempt.attempt).toBe(1);
    expect(await attempt.step('charge', () => 'again')).toBe('charged');
    end('done');
  });

  it('hold off those who wait', async () => {
    const bench = await Bench.started();
    const running = await bench.begin({ attempts: { ...attempts, max: 1 } });
    const waiting = bench.run('x', { attempts, onConcurrent: 'wait' });
    running.end(failure('x'));
    await pass(1_000);
    expect(await waiting).toBe('PARKED');
  });
});

describe('counted attempts in a transaction', () => {
  it('are counted although they were undone', async () => {
    const [bench] = await transactionalBench();
    const options = { attempts: { ...attempts, max: 1 }, mode: 'transactional' as const };
    expect(await bench.run(failure('undone'), options)).toBe('executed');
    expect(bench.told).toEqual(['onParked']);
    expect(await bench.run('x', options)).toBe('PARKED');
    expect(bench.runs).toBe(1);
    const record = await bench.record;
    expect(decodeFailure(record!.result)?.message).toBe('undone');
  });
});

describe('what frameworks steer with', () => {
  class KafkaRetriableException extends Error {}
  class OurRetriable extends KafkaRetriableException {}
  const named = (name: string, more = {}) => Object.assign(new Error('x'), { name, ...more });

  it.each([
    [named('DelayedError'), true],
    [named('WaitingError'), true],
    [named('WaitingChildrenError'), true],
    [new Error('bullmq:rateLimitExceeded'), true],
    [named('RateLimitError'), false],
    [named('UnrecoverableError'), false],
    [new KafkaRetriableException(), true],
    [new OurRetriable(), true],
    [named('KafkaJSProtocolError', { retriable: true }), true],
    [named('KafkaJSProtocolError', { retriable: false }), false],
    [named('OtherError', { retriable: true }), false],
    [new Error('DelayedError'), false],
    ['DelayedError', false],
    [undefined, false],
  ])('%s: %s', (error, expected) => {
    expect(isControlFlow(error)).toBe(expected);
  });
});

describe('the last failure', () => {
  it.each([
    [new RangeError('too far'), { name: 'RangeError', message: 'too far' }],
    ['text', { name: 'Error', message: 'It threw text.' }],
    [Object.create(null), { name: 'Error', message: 'It threw what is no error (object).' }],
    [undefined, { name: 'Error', message: 'It threw what is no error (undefined).' }],
  ])('%# is kept by name and message', (error, expected) => {
    expect(decodeFailure(encodeFailure(error))).toEqual(expected);
  });

  it('keeps no more than 1,000 characters, and nothing else of the error', () => {
    const bytes = encodeFailure(Object.assign(new Error('x'.repeat(5_000)), { card: '4111' }));
    expect(decodeFailure(bytes)?.message).toHaveLength(1_000);
    expect(Buffer.from(bytes).toString()).not.toContain('4111');
  });

  it('is unknown where it cannot be read', () => {
    expect(decodeFailure(null)).toBeUndefined();
    expect(decodeFailure(Buffer.from('?'))).toBeUndefined();
  });
});
