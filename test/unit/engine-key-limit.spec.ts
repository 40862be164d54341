import { Bench, pass, RELEASE, STORE_TIMEOUT, useFakeTime } from '../support/engine/bench.js';
import { fails, hangs } from '../support/engine/probe-store.js';

useFakeTime();

const most = (maxKeysPerScope: number, key: string) => ({ maxKeysPerScope, key });

describe('a limit of keys', () => {
  it('turns a new key away, and leaves no trace of it', async () => {
    const bench = await Bench.started();
    expect(await bench.run('one', most(2, 'a'))).toBe('executed');
    expect(await bench.run('two', most(2, 'b'))).toBe('executed');
    const before = bench.store.history;
    expect(await bench.run('three', most(2, 'c'))).toBe('TOO_MANY_KEYS');
    expect(bench.store.history).toBe(`${before} find countRecords`);
    expect(bench.runs).toBe(2);
    expect(bench.events.at(-1)).toEqual({
      hook: 'onRejected',
      code: 'IDEMPOTENCY_TOO_MANY_KEYS',
    });
  });

  it('is not there for replays and for duplicates in flight', async () => {
    const bench = await Bench.started();
    await bench.run('one', most(2, 'a'));
    const running = await bench.begin(most(2, 'b'));
    expect(await bench.run('again', most(2, 'a'))).toBe('replayed one');
    expect(await bench.run('again', most(2, 'b'))).toBe('IN_PROGRESS');
    running.end('two');
    await running.answer;
    expect(await bench.run('again', most(2, 'b'))).toBe('replayed two');
  });

  it('has room again when a record has expired, or was given back', async () => {
    const bench = await Bench.started();
    await bench.run('one', { ...most(1, 'a'), ttlMs: 7_000 });
    expect(await bench.run('two', most(1, 'b'))).toBe('TOO_MANY_KEYS');
    await pass(7_000);
    const failing = await bench.begin(most(1, 'b'));
    expect(await bench.run('three', most(1, 'c'))).toBe('TOO_MANY_KEYS');
    failing.end(RELEASE);
    await failing.answer;
    expect(await bench.run('three', most(1, 'c'))).toBe('executed');
  });

  it('holds when everybody comes at once, and counts nobody’s attempt who was turned away', async () => {
    const bench = await Bench.started();
    const keys = Array.from({ length: 20 }, (_, index) => `k-${index}`);
    const answers = await Promise.all(keys.map((key) => bench.run(key, most(3, key))));
    expect(bench.runs).toBeLessThanOrEqual(3);
    expect(await bench.store.countRecords({ scope: 'alice' }, 20)).toBe(bench.runs);
    const refused = keys.filter((_, index) => answers[index] === 'TOO_MANY_KEYS');
    expect(refused).toHaveLength(20 - bench.runs);
    const retry = await bench.begin({ key: refused[0] as string });
    expect(retry.attempt.attempt).toBe(1);
    retry.end('done');
    await retry.answer;
  });

  it('is not passed by a retry of an attempt that failed', async () => {
    const bench = await Bench.started();
    for (const key of ['a', 'b', 'c']) await bench.run(RELEASE, most(1, key));
    const running = await bench.begin(most(1, 'a'));
    expect(await bench.run('retry', most(1, 'b'))).toBe('TOO_MANY_KEYS');
    running.end('done');
    await running.answer;
  });

  it.each([
    ['fails', fails],
    ['hangs', hangs],
  ])('lets nothing run when counting %s, before the claim and after it', async (_, fault) => {
    const bench = await Bench.started();
    bench.store.plan('countRecords', fault);
    const before = bench.run('never', most(3, 'a'));
    await pass(STORE_TIMEOUT);
    expect(await before).toBe('STORE_UNAVAILABLE');
    expect(bench.store.count('claim')).toBe(0);

    bench.store.plan('countRecords', (apply) => apply(), fault);
    const after = bench.run('never', most(3, 'a'));
    await pass(STORE_TIMEOUT);
    expect(await after).toBe('STORE_UNAVAILABLE');
    expect(bench.runs).toBe(0);
    expect(await bench.store.countRecords({ scope: 'alice' }, 1)).toBe(0);
    expect(await bench.run('at last', most(3, 'a'))).toBe('executed');
  });
});
