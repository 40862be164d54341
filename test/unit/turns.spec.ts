import { jest } from '@jest/globals';
import { Turns } from '../../src/transactions/turns.js';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
const stillOpen = /begun on a query runner and is still open/;

describe('turns on one connection', () => {
  it('are taken one after the other, in the order of asking', async () => {
    const turns = new Turns();
    const order: string[] = [];
    const take = (name: string, ms: number) =>
      turns.take(async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, ms));
        order.push(`${name} ends`);
      });
    const all = Promise.all([take('a', 20), take('b', 1), take('c', 1)]);
    await pass(30);
    await all;
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
    expect(turns.isBusy).toBe(false);
  });

  it('go on after one that failed', async () => {
    const turns = new Turns();
    const failing = turns.take(() => Promise.reject(new Error('no')));
    const next = turns.take(async () => 'next');
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('next');
  });

  it('are waited for as long as their work goes on', async () => {
    const turns = new Turns();
    let end!: () => void;
    const first = turns.take(() => new Promise<void>((resolve) => (end = resolve)));
    const next = turns.take(async () => 'next');
    const idle = turns.idle();
    await pass(60_000);
    end();
    await Promise.all([first, idle]);
    expect(await next).toBe('next');
  });

  it('are not waited for any longer once they are refused, and the one that is taken goes on', async () => {
    const turns = new Turns();
    let end!: () => void;
    const first = turns.take(
      () => new Promise<string>((resolve) => (end = () => resolve('first'))),
    );
    let runs = 0;
    const refused = [1, 2].map(() => turns.take(async () => (runs += 1)));
    const outcomes = Promise.allSettled(refused);
    await pass(0);
    turns.refuse(new Error('undone'));
    expect(await outcomes).toMatchObject([
      { reason: { message: 'undone' } },
      { reason: { message: 'undone' } },
    ]);
    const idle = turns.idle();
    expect(turns.isBusy).toBe(true);
    end();
    expect(await first).toBe('first');
    await idle;
    expect(runs).toBe(0);
    expect(await turns.take(async () => 'next')).toBe('next');
  });

  it('are given up behind one whose end nobody sees', async () => {
    const turns = new Turns();
    const end = await turns.hold();
    const next = turns.take(async () => 'next');
    next.catch(() => undefined);
    const idle = turns.idle();
    idle.catch(() => undefined);
    await pass(4_900);
    const later = turns.take(async () => 'later');
    later.catch(() => undefined);
    await pass(700);
    await expect(next).rejects.toThrow(stillOpen);
    await expect(idle).rejects.toThrow(stillOpen);
    await expect(later).rejects.toThrow(stillOpen);
    end();
    expect(await turns.take(async () => 'last')).toBe('last');
    await turns.idle();
    expect(turns.isBusy).toBe(false);
  });

  it('do not blame who waits itself for work that takes long', async () => {
    const turns = new Turns();
    let end!: () => void;
    const first = turns.take(() => new Promise<void>((resolve) => (end = resolve)));
    const held = turns.hold();
    const next = turns.take(async () => 'next');
    await pass(60_000);
    end();
    await first;
    (await held)();
    expect(await next).toBe('next');
  });
});
