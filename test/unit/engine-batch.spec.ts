import type { Fresh } from '../../src/engine/batch-runs.js';
import {
  Bench,
  complete,
  pass,
  RELEASE,
  STORE_TIMEOUT,
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

  it('is not begun while the application closes', async () => {
    const bench = await Bench.started();
    bench.engine.close();
    expect(await batch(bench)).toBe('IDEMPOTENCY_SHUTTING_DOWN');
    expect(bench.store.count('claimMany')).toBe(0);
  });
});
