import type { AttemptsPolicy, Outcome } from '../../src/engine/operation.js';
import type { Telemetry, WatchedOperation } from '../../src/engine/telemetry.js';
import {
  Bench,
  complete,
  failed,
  pass,
  RELEASE,
  STORE_TIMEOUT,
  TOMBSTONE,
  UNCERTAIN,
  useFakeTime,
} from '../support/engine/bench.js';
import { fails } from '../support/engine/probe-store.js';

useFakeTime();

const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

/** Writes down what it is told, one line for each call. */
class Spans implements Telemetry {
  readonly hooks = {};
  readonly told: string[] = [];
  readonly operations: WatchedOperation[] = [];
  traceparent: string | undefined = TRACE;

  watch: Telemetry['watch'] = (store) => store;

  around: Telemetry['around'] = (operation, run) => {
    this.operations.push(operation);
    return run({
      traceparent: this.traceparent,
      began: (attempt) => this.told.push(`began ${attempt}`),
      replayed: (trace) => this.told.push(`replayed ${trace}`),
      ended: (outcome) => this.told.push(`ended ${outcome}`),
      failed: (error) => this.told.push(`failed ${(error as { code: string }).code}`),
    });
  };
}

let spans: Spans;
let bench: Bench;

beforeEach(async () => {
  spans = new Spans();
  bench = new Bench(undefined, spans);
  await bench.engine.start();
});
afterEach(() => bench.engine.stop());

describe('a span around an operation', () => {
  it('is told of the run, and its trace by every replay', async () => {
    await bench.run('mine');
    spans.traceparent = undefined;
    await bench.run();
    expect(spans.told).toEqual([
      'began 1',
      'ended executed',
      `replayed ${TRACE}`,
      'ended replayed',
    ]);
    const { handler, id } = bench.operation();
    expect(spans.operations).toEqual(Array(2).fill({ handler, record: id }));
  });

  it('leaves an outcome as it is when it has no trace itself', async () => {
    spans.traceparent = undefined;
    await bench.run('mine');
    await bench.run();
    expect(spans.told).toContain('replayed undefined');
  });

  it.each<[string, Outcome]>([
    ['executed', TOMBSTONE],
    ['executed', failed(complete('sold out'))],
    ['released', RELEASE],
    ['uncertain', UNCERTAIN],
  ])('ends as %s after %o', async (outcome, end) => {
    await bench.run(end);
    expect(spans.told.at(-1)).toBe(`ended ${outcome}`);
  });

  it('ends as uncertain when the effect had begun before a failure', async () => {
    await bench.work(async (attempt) => {
      await attempt.effectStarted();
      return RELEASE;
    });
    expect(spans.told.at(-1)).toBe('ended uncertain');
  });

  it('ends as unprotected when it ran without a store', async () => {
    bench.store.breakDown(fails, 'claim');
    const answer = bench.run('mine', { onStoreFailure: 'open' });
    await pass(STORE_TIMEOUT);
    expect(await answer).toBe('unprotected');
    expect(spans.told.at(-1)).toBe('ended unprotected');
  });

  it('is told of a refusal', async () => {
    const { answer, end } = await bench.begin();
    expect(await bench.run()).toBe('IN_PROGRESS');
    expect(spans.told).toEqual(['began 1', 'failed IDEMPOTENCY_IN_PROGRESS']);
    end('mine');
    await answer;
  });

  it('ends as parked when that was the last attempt', async () => {
    const attempts: AttemptsPolicy = { max: 1, delayMs: () => 1, onExhausted: 'park' };
    await bench.run(RELEASE, { attempts });
    expect(spans.told.at(-1)).toBe('ended parked');
  });
});

describe('a span around a batch', () => {
  const batch = (keys: readonly string[]) =>
    bench.engine.runBatch(
      keys.map((key) => bench.operation({ key })),
      async (fresh) => fresh.map(() => complete('mine')),
    );

  it('is one for all, and is told of the replays among them', async () => {
    await batch(['a', 'b']);
    expect(spans.operations).toEqual([{ handler: bench.operation().handler }]);
    await batch(['b', 'c']);
    expect(spans.told).toEqual([`replayed ${TRACE}`]);
  });

  it('is told when nothing was run', async () => {
    bench.store.breakDown(fails, 'claimMany');
    await expect(batch(['a'])).rejects.toMatchObject({ code: 'IDEMPOTENCY_STORE_UNAVAILABLE' });
    expect(spans.told).toEqual(['failed IDEMPOTENCY_STORE_UNAVAILABLE']);
  });
});
