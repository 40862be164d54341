import type { Attempt } from '../../src/engine/attempt.js';
import { pass, RELEASE, useFakeTime, type OperationOptions } from '../support/engine/bench.js';
import { fails, passes, type Fault } from '../support/engine/probe-store.js';
import {
  bench,
  transactions,
  useTransactionalBench,
} from '../support/engine/transactional-store.js';

useFakeTime();
useTransactionalBench();

const MODE = { mode: 'transactional' } as const;
const begin = (options: OperationOptions = {}) => bench.begin({ ...MODE, ...options });

describe('steps of an operation that is undone as a whole', () => {
  const ran: string[] = [];
  beforeEach(() => void ran.splice(0));

  const step = (attempt: Attempt, name: string, statements = 0): Promise<string> =>
    attempt.step(name, async () => {
      ran.push(name);
      transactions.current!.statements += statements;
      return `${name} ${ran.length}`;
    });
  /** What the attempts to come find, for which the key is in lease mode. */
  const later = async (names: readonly string[]): Promise<void> => {
    const { attempt, end, answer } = await bench.begin();
    for (const name of names) {
      await step(attempt, name);
    }
    end('done');
    expect(await answer).toBe('executed');
  };

  it('outlast its failure if they sent nothing', async () => {
    const work = bench.work(async (attempt) => {
      await step(attempt, 'charge');
      await step(attempt, 'book', 1);
      return RELEASE;
    }, MODE);
    expect(await work).toBe('executed');
    expect(bench.told).toEqual(['onReleased']);
    await later(['charge', 'book']);
    expect(ran).toEqual(['charge', 'book', 'book']);
  });

  it.each([
    ['the store is away', async () => bench.store.plan('claim', fails), ['onRecordingFailed']],
    ['another has the key', () => bench.claimedElsewhere(1_000), []],
  ])('are not kept while %s', async (_, meanwhile, told) => {
    const answer = bench.work(async (attempt) => {
      await step(attempt, 'charge');
      await meanwhile();
      return RELEASE;
    }, MODE);
    expect(await answer).toBe('executed');
    expect(bench.told).toEqual([...told, 'onReleased']);
    expect(bench.store.count('keepSteps')).toBe(0);
  });

  it('are left to the whole where it is a part', async () => {
    transactions.inside = true;
    const { attempt, end, answer } = await begin();
    await step(attempt, 'charge');
    end(RELEASE);
    await answer;
    expect(bench.store.count('claim')).toBe(0);
  });

  it('are carried over when it runs again because of others', async () => {
    const answer = bench.work(async (attempt) => {
      await step(attempt, 'charge');
      await step(attempt, 'book', 1);
      return ran.length < 3 ? { type: 'again' } : 'mine';
    }, MODE);
    await pass(100);
    expect(await answer).toBe('executed');
    expect(ran).toEqual(['charge', 'book', 'book']);
    expect(bench.store.count('keepSteps')).toBe(0);
  });

  it('are kept when it ran again, and failed', async () => {
    const answer = bench.work(async (attempt) => {
      await step(attempt, 'charge');
      return bench.runs === 1 ? { type: 'again' } : RELEASE;
    }, MODE);
    await pass(100);
    expect(await answer).toBe('executed');
    await later(['charge']);
    expect(ran).toEqual(['charge']);
  });

  it.each([
    ['the store is away', () => transactions.plan('begin', passes, fails), 'STORE_UNAVAILABLE'],
    [
      'somebody else is at the key',
      () => transactions.plan('begin', passes, (async () => ({ type: 'busy' })) as Fault),
      'IN_PROGRESS',
    ],
  ])('are kept when it cannot run again because %s', async (_, arrange, told) => {
    arrange();
    const answer = bench.work(async (attempt) => {
      await step(attempt, 'charge');
      return { type: 'again' };
    }, MODE);
    await pass(100);
    expect(await answer).toBe(told);
    await later(['charge']);
    expect(ran).toEqual(['charge']);
  });

  it('fail it when it has not asked for all that was carried over', async () => {
    const answer = bench.work(async (attempt) => {
      if (bench.runs > 1) return 'mine';
      await step(attempt, 'charge');
      return { type: 'again' };
    }, MODE);
    await pass(100);
    expect(await answer).toBe('STEPS_CHANGED');
    expect(transactions.count('commit')).toBe(0);
  });

  it('may be a part of it', async () => {
    const { attempt, end, answer } = await begin();
    expect(await attempt.transaction('book', () => 'booked')).toBe('booked');
    expect(transactions.calls).toEqual(['begin', 'open', 'commit']);
    end(RELEASE);
    await answer;
    expect(bench.store.count('keepSteps')).toBe(0);
  });

  it('may be undone alone', async () => {
    const { attempt, end, answer } = await begin();
    const book = attempt.transaction('book', () => Promise.reject(new Error('sold out')));
    await expect(book).rejects.toThrow('sold out');
    expect(transactions.calls).toEqual(['begin', 'open', 'rollback']);
    end('mine');
    expect(await answer).toBe('executed');
  });

  it.each(['transactional', 'lease'] as const)(
    'have no point of no return among them (mode: %s)',
    async (mode) => {
      transactions.inside = true;
      const { attempt, end, answer } = await begin({ mode });
      const marking = attempt.effectStarted();
      await expect(marking).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISCONFIGURED' });
      await expect(marking).rejects.toThrow('runs in a transaction, and is undone with it');
      end(RELEASE);
      expect(await answer).toBe('executed');
      expect(bench.told).toEqual(['onReleased']);
    },
  );
});
