import { jest } from '@jest/globals';
import { Bench, pass, useFakeTime } from '../support/engine/bench.js';
import { fails, hangs } from '../support/engine/probe-store.js';

describe('stop', () => {
  useFakeTime();

  it('leaves no timer of running, waiting or unrecorded operations', async () => {
    const bench = await Bench.started();
    const running = await bench.begin({ key: 'running' });
    const waiting = bench.run('x', { key: 'running', onConcurrent: 'wait' });
    bench.store.breakDown(fails, 'complete');
    expect(await bench.run('unrecorded', { key: 'other' })).toBe('executed');
    await pass(100);
    expect(jest.getTimerCount()).toBeGreaterThan(0);
    bench.store.heal();
    bench.engine.stop();
    expect(await waiting).toBe('IN_PROGRESS');
    await pass(0);
    expect(jest.getTimerCount()).toBe(0);
    // the one that was not recorded got a last chance
    expect(await bench.run('x', { key: 'other', isInner: true })).toBe('replayed unrecorded');
    running.end('done');
    expect(await running.answer).toBe('executed');
    expect(await bench.run('x', { key: 'running', isInner: true })).toBe('replayed done');
    expect(jest.getTimerCount()).toBe(0);
  });

  it('gives up what cannot be recorded, as uncertain, without another pause', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'complete');
    await bench.run('first');
    bench.engine.stop();
    await pass(0);
    expect(bench.store.count('complete')).toBe(2);
    await bench.run('second', { key: 'k2', isInner: true });
    await pass(0);
    expect(bench.told).toEqual([
      'onRecordingFailed',
      'onRecordingFailed',
      'onUncertain',
      'onRecordingFailed',
      'onRecordingFailed',
      'onUncertain',
    ]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('ends every watch, and nobody begins to wait afterwards', async () => {
    const bench = await Bench.started();
    const running = [await bench.begin({ key: 'a' }), await bench.begin({ key: 'b' })];
    const waiting = ['a', 'b'].map((key) => bench.run('x', { key, onConcurrent: 'wait' }));
    await pass(0);
    bench.engine.stop();
    expect(await Promise.all(waiting)).toEqual(['IN_PROGRESS', 'IN_PROGRESS']);
    const late = { key: 'a', onConcurrent: 'wait', isInner: true } as const;
    expect(await bench.run('x', late)).toBe('IN_PROGRESS');
    for (const { end, answer } of running) {
      end('done');
      await answer;
    }
  });
});

describe('an engine', () => {
  describe('under fake time', () => {
    useFakeTime();

    it('has no timer left when every operation has ended', async () => {
      const bench = await Bench.started();
      const owner = await bench.begin();
      const other = await bench.begin({ key: 'other' });
      const waiting = bench.run('x', { onConcurrent: 'wait' });
      await pass(10_000 - 6_000);
      owner.end('done');
      expect(await waiting).toBe('replayed done');
      expect(jest.getTimerCount()).toBe(1);
      other.end('done');
      await other.answer;
      await pass(0);
      expect(jest.getTimerCount()).toBe(0);
    });
  });

  it('never keeps a process alive', async () => {
    const alive = (): number =>
      process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const bench = await Bench.started();
    const before = alive();
    const running = await bench.begin();
    const waiting = bench.run('x', { onConcurrent: 'wait' });
    bench.store.plan('complete', fails);
    await bench.run('unrecorded', { key: 'other' });
    bench.store.plan('claim', hangs, fails);
    const hanging = bench.run('x', { key: 'hanging' });
    const retrying = bench.run('x', { key: 'retrying' });
    await new Promise(setImmediate);
    expect(alive()).toBe(before);
    running.end('done');
    expect(await waiting).toBe('replayed done');
    expect(await retrying).toBe('executed');
    expect(await hanging).toBe('STORE_UNAVAILABLE');
    bench.engine.stop();
  });
});
