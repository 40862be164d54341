import { jest } from '@jest/globals';
import { Bench, pass, useFakeTime } from '../support/engine/bench.js';
import { fails } from '../support/engine/probe-store.js';

describe('an engine that is shut down', () => {
  useFakeTime();

  it('begins nothing new, and says so', async () => {
    const bench = await Bench.started();
    await bench.run('done');
    bench.engine.close();
    expect(await bench.run('x')).toBe('SHUTTING_DOWN');
    expect(await bench.run('x', { key: 'new' })).toBe('SHUTTING_DOWN');
    expect(bench.runs).toBe(1);
    expect(bench.told.slice(-2)).toEqual(['onRejected', 'onRejected']);
  });

  it('lets what runs begin what it needs to end', async () => {
    const bench = await Bench.started();
    bench.engine.close();
    expect(await bench.run('done', { isInner: true })).toBe('executed');
  });

  it('waits for what runs, and renews its lease meanwhile', async () => {
    const bench = await Bench.started();
    const running = await bench.begin();
    let drained = false;
    const draining = bench.engine.drain(60_000).then(() => (drained = true));
    await pass(20_000);
    expect(drained).toBe(false);
    expect(bench.store.count('renew')).toBeGreaterThan(2);
    running.end('done');
    await draining;
    expect(await running.answer).toBe('executed');
    expect(running.attempt.signal.aborted).toBe(false);
    expect((await bench.record)?.state).toBe('completed');
  });

  it('waits for outcomes that could not be recorded yet', async () => {
    const bench = await Bench.started();
    bench.store.breakDown(fails, 'complete', 'ping');
    expect(await bench.run('done')).toBe('executed');
    const draining = bench.engine.drain(60_000);
    await pass(1_000);
    bench.store.heal();
    await pass(10_000);
    await draining;
    expect((await bench.record)?.state).toBe('completed');
  });

  it('lets go of what takes longer: its signal aborts and its lease runs out', async () => {
    const bench = await Bench.started();
    const running = await bench.begin();
    const draining = bench.engine.drain(1_000);
    await pass(1_000);
    await draining;
    expect(running.attempt.signal.reason).toEqual(new Error('The application is shutting down.'));
    expect(jest.getTimerCount()).toBe(0);
    await pass(7_000);
    expect(await bench.record).toBeNull();
    running.end('late');
    await running.answer;
  });

  it('does not wait when nothing runs', async () => {
    const bench = await Bench.started();
    await bench.engine.drain(60_000);
    expect(jest.getTimerCount()).toBe(0);
  });
});
