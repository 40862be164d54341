import { IdempotencyError } from '../../src/engine/errors.js';
import type { ClaimRequest } from '../../src/engine/store.js';
import type { Fresh } from '../../src/engine/batch-runs.js';
import {
  Bench,
  complete,
  pass,
  POLICY,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
  type OperationOptions,
} from '../support/engine/bench.js';
import { fails, hangs, late, losesReply } from '../support/engine/probe-store.js';

useFakeTime();

const KEYS = ['a', 'b', 'c'];

function batch(
  bench: Bench,
  keys = KEYS,
  end = () => complete('done'),
  options: OperationOptions = {},
): Promise<string> {
  const operations = keys.map((key) => bench.operation({ key, ...options }));
  const work = async (fresh: readonly Fresh[]) => {
    bench.runs += 1;
    return fresh.map(end);
  };
  return bench.engine.runBatch(operations, work).then(
    (results) => results.map(({ type }) => type).join(' '),
    (error: { code: string }) => error.code,
  );
}

const statesOf = (bench: Bench) =>
  Promise.all(
    KEYS.map(async (key) => (await bench.store.find(bench.operation({ key }).id))?.state),
  );

describe('a batch', () => {
  it('costs one claim and one completion', async () => {
    const bench = await Bench.started();
    expect(await batch(bench)).toBe('executed executed executed');
    expect(bench.store.history).toBe('init claimMany completeMany');
    expect(bench.told).toEqual(['onExecuted', 'onExecuted', 'onExecuted']);
    expect(await batch(bench)).toBe('replayed replayed replayed');
    expect(bench.runs).toBe(1);
  });

  it('runs nothing when it cannot be claimed, and gives back what may have been', async () => {
    const bench = await Bench.started();
    bench.store.plan('claimMany', losesReply);
    expect(await batch(bench)).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    await pass(0);
    expect(bench.runs).toBe(0);
    expect(await statesOf(bench)).toEqual([undefined, undefined, undefined]);
    expect(await batch(bench)).toBe('executed executed executed');
  });

  it('does not wait for a store that hangs', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(hangs, 'claimMany', 'ping');
    const answer = batch(bench);
    await pass(2 * STORE_TIMEOUT);
    expect(await answer).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
  });

  it('is given the time of as many claims by a store that is slow', async () => {
    const bench = await Bench.started();
    bench.store.plan('claimMany', late(2.5 * STORE_TIMEOUT));
    const answer = batch(bench);
    await pass(2.5 * STORE_TIMEOUT);
    expect(await answer).toBe('executed executed executed');
  });

  it.each([
    ['than for as many claims', KEYS.length, 60_000],
    ['than its leases last', 2, 2 * STORE_TIMEOUT],
  ])('is not waited for longer %s, and then given back', async (_, waits, leaseMs) => {
    const bench = await Bench.started();
    bench.store.plan('claimMany', late(5 * STORE_TIMEOUT));
    const answer = batch(bench, KEYS, undefined, { leaseMs });
    await pass(waits * STORE_TIMEOUT);
    expect(await answer).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    await pass(5 * STORE_TIMEOUT);
    expect(bench.runs).toBe(0);
    expect(await statesOf(bench)).toEqual([undefined, undefined, undefined]);
    expect(await batch(bench)).toBe('executed executed executed');
  });

  it.each([
    ['the reply got lost', losesReply],
    ['the store cannot take it in one', fails],
  ])('records its outcomes one by one when %s', async (_, fault) => {
    const bench = await Bench.started();
    bench.store.plan('completeMany', fault);
    expect(await batch(bench)).toBe('executed executed executed');
    expect(await statesOf(bench)).toEqual(['completed', 'completed', 'completed']);
    expect(bench.told).toEqual(['onExecuted', 'onExecuted', 'onExecuted']);
  });

  it('is recorded in the background while the store is away', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'completeMany', 'complete');
    expect(await batch(bench)).toBe('executed executed executed');
    bench.store.heal();
    await pass(1_000);
    expect(await statesOf(bench)).toEqual(['completed', 'completed', 'completed']);
  });

  it('keeps its leases while it runs', async () => {
    const bench = await Bench.started();
    let end!: () => void;
    const running = bench.engine.runBatch(
      KEYS.map((key) => bench.operation({ key })),
      (fresh) =>
        new Promise((resolve) => {
          end = () => resolve(fresh.map(() => complete('late')));
        }),
    );
    await pass(20_000);
    expect(await statesOf(bench)).toEqual(['in-progress', 'in-progress', 'in-progress']);
    end();
    expect(await running).toHaveLength(3);
    expect(await statesOf(bench)).toEqual(['completed', 'completed', 'completed']);
  });

  it('tells of each lease that it loses', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'renew');
    void bench.engine.runBatch(
      KEYS.map((key) => bench.operation({ key })),
      () => new Promise(() => {}),
    );
    await pass(20_000);
    expect(bench.told).toEqual(['onLeaseLost', 'onLeaseLost', 'onLeaseLost']);
  });

  it('that failed may run again, and counts', async () => {
    const bench = await Bench.started();
    expect(await batch(bench, KEYS, () => RELEASE as never)).toBe('executed executed executed');
    expect(await statesOf(bench)).toEqual([undefined, undefined, undefined]);
    const { attempt, end } = await bench.begin({ key: 'a' });
    expect(attempt.attempt).toBe(2);
    end('done');
  });

  it('gives its claims back uncounted when one is in flight', async () => {
    const bench = await Bench.started();
    const running = await bench.begin({ key: 'b' });
    expect(await batch(bench)).toBe('IDEMPOTENCY_IN_PROGRESS');
    expect(bench.told).toEqual(['onRejected']);
    running.end('done');
    await running.answer;
    const { attempt, end } = await bench.begin({ key: 'a' });
    expect(attempt.attempt).toBe(1);
    end('done');
  });

  it('does not run on claims that were over before it heard of them', async () => {
    const bench = await Bench.started();
    bench.store.plan('claimMany', late(800));
    const answer = batch(bench, KEYS, undefined, { leaseMs: 500 });
    await pass(800);
    expect(await answer).toBe('IDEMPOTENCY_STORE_UNAVAILABLE');
    expect(bench.runs).toBe(0);
  });

  it('says so when the store is set up wrongly', async () => {
    const bench = await Bench.started();
    const error = new IdempotencyError('IDEMPOTENCY_MISCONFIGURED', 'no table');
    bench.store.plan('claimMany', () => Promise.reject(error));
    expect(await batch(bench)).toBe('IDEMPOTENCY_MISCONFIGURED');
  });

  it('tells an outage in its own words', async () => {
    const bench = await Bench.started();
    const cause = new Error('ECONNREFUSED');
    const error = new IdempotencyError('IDEMPOTENCY_STORE_UNAVAILABLE', 'no', { cause });
    bench.store.plan('claimMany', () => Promise.reject(error));
    const running = bench.engine.runBatch([bench.operation()], async () => []);
    await expect(running).rejects.toMatchObject({ code: error.code, cause });
  });

  it('is told when the application goes, and lets go of its leases', async () => {
    const bench = await Bench.started();
    const signals: AbortSignal[] = [];
    void bench.engine.runBatch([bench.operation()], (fresh) => {
      signals.push(...fresh.map(({ attempt }) => attempt.signal));
      return new Promise(() => {});
    });
    await pass(0);
    await bench.engine.drain(0);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    await pass(POLICY.leaseMs);
    expect(await bench.record).toBeNull();
  });

  it('records that it was done where a result cannot be kept', async () => {
    const bench = await Bench.started();
    const end = () => ({ ...TOMBSTONE, returned: true }) as never;
    expect(await batch(bench, KEYS, end)).toBe('executed executed executed');
    expect(await statesOf(bench)).toEqual(['tombstone', 'tombstone', 'tombstone']);
    expect(await batch(bench)).toBe('IDEMPOTENCY_RESULT_UNAVAILABLE');
  });

  it('fails with a step that was asked for twice, and records the others', async () => {
    const bench = await Bench.started();
    const operations = KEYS.map((key) => bench.operation({ key }));
    const running = bench.engine.runBatch(operations, async (fresh) => {
      const { attempt } = fresh[1]!;
      await attempt.step('charge', () => 1);
      await attempt.step('charge', () => 1).catch(() => undefined);
      return fresh.map(() => complete('done'));
    });
    await expect(running).rejects.toMatchObject({ code: 'IDEMPOTENCY_STEPS_CHANGED' });
    expect(await statesOf(bench)).toEqual(['completed', undefined, 'completed']);
  });

  it('fails when another attempt has taken over, and records the others', async () => {
    const bench = await Bench.started();
    const operations = KEYS.map((key) => bench.operation({ key }));
    const running = bench.engine.runBatch(operations, async (fresh) => {
      const { id, owner } = fresh[0]!.attempt;
      await bench.store.release({ id, owner });
      const [request] = bench.store.argumentsOf('claimMany')[0]![0] as ClaimRequest[];
      await bench.store.claim({ ...request!, owner: '0'.repeat(32) });
      return fresh.map(() => complete('done'));
    });
    await expect(running).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_PROGRESS' });
    expect(bench.told).toEqual(['onRejected', 'onExecuted', 'onExecuted']);
    expect(await statesOf(bench)).toEqual(['in-progress', 'completed', 'completed']);
  });

  it.each<[string, OperationOptions, string]>([
    ['is settled later where that is asked for', { onUnknownOutcome: 'rerun' }, 'later'],
    ['is asked about later', { onUnknownOutcome: () => 'absent' }, 'later'],
    ['stops the batch', {}, 'IDEMPOTENCY_OUTCOME_UNCERTAIN'],
    [
      'of another request is told first',
      { onUnknownOutcome: 'rerun', payload: 'other' },
      'IDEMPOTENCY_KEY_REUSED',
    ],
  ])('whose outcome is uncertain %s', async (_, options, answer) => {
    const bench = await Bench.started();
    await bench.run(UNCERTAIN, { key: 'a' });
    expect(await batch(bench, ['a'], undefined, options)).toBe(answer);
  });

  it('of nothing asks nobody', async () => {
    const bench = await Bench.started();
    expect(await batch(bench, [])).toBe('');
    expect(bench.runs).toBe(0);
    expect(bench.store.count('claimMany')).toBe(0);
  });

  it('that breaks off without an outcome keeps its keys until the leases are over', async () => {
    const bench = await Bench.started();
    const bug = new TypeError('a bug of an entry point');
    const broken = bench.engine.runBatch([bench.operation()], () => Promise.reject(bug));
    await expect(broken).rejects.toBe(bug);
    expect(await bench.run('second')).toBe('IN_PROGRESS');
    await pass(POLICY.leaseMs);
    expect(await bench.run('third')).toBe('executed');
  });

  it('is not begun while the application closes', async () => {
    const bench = await Bench.started();
    bench.engine.close();
    expect(await batch(bench)).toBe('IDEMPOTENCY_SHUTTING_DOWN');
    expect(bench.store.count('claimMany')).toBe(0);
  });
});
