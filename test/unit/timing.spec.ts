import { jest } from '@jest/globals';
import fc from 'fast-check';
import { toMilliseconds } from '../../src/engine/duration.js';
import { keyTime } from '../../src/engine/key-time.js';
import { jittered, LONGEST_TIMER_MS, pause, within } from '../../src/engine/timing.js';
import { isPending, pass, useFakeTime } from '../support/engine/bench.js';

describe('timers', () => {
  useFakeTime();

  it('pause for as long as asked', async () => {
    const paused = pause(1_000);
    await pass(999);
    expect(await isPending(paused)).toBe(true);
    await pass(1);
    await paused;
  });

  it('pause until the signal aborts, and leave nothing behind', async () => {
    const end = new AbortController();
    const paused = pause(1_000, end.signal);
    const done = pause(10, end.signal);
    await pass(10);
    await done;
    end.abort();
    await paused;
    await pause(1_000, end.signal);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('never fire early because they are set for longer than Node can count', async () => {
    const paused = pause(LONGEST_TIMER_MS * 2);
    const answer = within(LONGEST_TIMER_MS * 2, new Promise(() => {}));
    await pass(1_000_000);
    expect(await isPending(Promise.race([paused, answer]))).toBe(true);
  });

  it('give the answer of a promise that is in time', async () => {
    await expect(within(1_000, Promise.resolve('x'))).resolves.toBe('x');
    await expect(within(1_000, Promise.reject(new Error('y')))).rejects.toThrow('y');
    expect(jest.getTimerCount()).toBe(0);
  });

  it('hear an answer that is there, though nothing is left of the time for it', async () => {
    await expect(within(-5, Promise.resolve('x'))).resolves.toBe('x');
    const gaveUp = within(-5, new Promise(() => {})).catch((error: Error) => error.message);
    await pass(1);
    expect(await gaveUp).toBe('The store did not answer within 1 ms.');
  });

  it('give up a promise that is late, and drop what it says then', async () => {
    let fail!: (error: Error) => void;
    const slow = within(1_000, new Promise((_, reject) => (fail = reject)));
    const gaveUp = slow.catch((error: Error) => error.message);
    await pass(1_000);
    expect(await gaveUp).toBe('The store did not answer within 1000 ms.');
    fail(new Error('too late'));
    await pass(0);
    expect(jest.getTimerCount()).toBe(0);
  });
});

it('jitter shortens by up to a half and never lengthens', () => {
  const times = Array.from({ length: 1_000 }, () => jittered(100));
  expect(Math.min(...times)).toBeGreaterThanOrEqual(50);
  expect(Math.max(...times)).toBeLessThanOrEqual(100);
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(40);
});

describe('toMilliseconds', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5s', 1_500],
    ['15m', 900_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['520w', 314_496_000_000],
    [1, 1],
    [1.6, 2],
    [86_400_000, 86_400_000],
  ])('reads %p', (duration, expected) => {
    expect(toMilliseconds(duration)).toBe(expected);
  });

  const texts = ['', '10', 'ms', '1 s', ' 1s', '1y', '-1s', '+1s', '0s', '0.5ms', '1e3ms', '1s\n'];
  const values = [0, 0.9, -1, NaN, Infinity, -Infinity, null, undefined, {}, [], true, 1n, ['1s']];

  it.each<unknown>([...texts, ...values, '.5s', `${'9'.repeat(200)}s`])(
    'does not read %p',
    (duration) => {
      expect(toMilliseconds(duration)).toBeUndefined();
    },
  );

  it('answers a positive whole number or nothing, for anything', () => {
    const text = fc.string({
      unit: fc.constantFrom(...'0 1 2 5 9 . - + e m s h d w'.split(' '), ' '),
      maxLength: 12,
    });
    const any = fc.oneof(text, fc.double(), fc.anything());
    fc.assert(
      fc.property(any, (duration) => {
        const value = toMilliseconds(duration);
        return value === undefined || (Number.isInteger(value) && value >= 1);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('keyTime', () => {
  it.each([
    ['the UUIDv7 of RFC 9562', '017F22E2-79B0-7CC3-98C4-DC0C0C07398F', 1_645_557_742_000],
    ['the same in lower case', '017f22e2-79b0-7cc3-98c4-dc0c0c07398f', 1_645_557_742_000],
    ['the ULID of its specification', '01ARZ3NDEKTSV4RRFFQ69G5FAV', 1_469_922_850_259],
    ['the same in lower case', '01arz3ndektsv4rrffq69g5fav', 1_469_922_850_259],
    ['the last ULID', '7ZZZZZZZZZZZZZZZZZZZZZZZZZ', 281_474_976_710_655],
    ['the first UUIDv7', '00000000-0000-7000-8000-000000000000', 0],
  ])('reads %s', (_, key, time) => {
    expect(keyTime(key)).toBe(time);
  });

  it.each([
    ['a UUIDv4', '919108f7-52d1-4320-9bac-f847db4148a8'],
    ['a UUIDv1', 'c232ab00-9414-11ec-b3c8-9f6bdeced846'],
    ['a UUIDv6', '1ec9414c-232a-6b00-b3c8-9f6bdeced846'],
    ['a UUID of another variant', '017f22e2-79b0-7cc3-c8c4-dc0c0c07398f'],
    ['a UUIDv7 with something around it', 'x017f22e2-79b0-7cc3-98c4-dc0c0c07398f'],
    ['a UUIDv7 without hyphens', '017f22e279b07cc398c4dc0c0c07398f'],
    ['a ULID that overflows', '8ZZZZZZZZZZZZZZZZZZZZZZZZZ'],
    ['a ULID with a letter that Crockford left out', '01ARZ3NDEKTSV4RRFFQ69G5FAU'],
    ['one that is too short', '01ARZ3NDEKTSV4RRFFQ69G5FA'],
    ['a number padded with zeros to the form of a ULID', '00000000000000000000004711'],
    ['any other text', 'order-4711'],
    ['nothing', ''],
  ])('reads nothing in %s', (_, key) => {
    expect(keyTime(key)).toBeUndefined();
  });

  it('reads back every time that was written', () => {
    const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(2016, 0), max: 2 ** 48 - 1 }), (time) => {
        const hex = time.toString(16).padStart(12, '0');
        let ulid = '';
        for (let rest = time, digit = 0; digit < 10; digit += 1, rest = Math.floor(rest / 32)) {
          ulid = `${alphabet[rest % 32]}${ulid}`;
        }
        return (
          keyTime(`${hex.slice(0, 8)}-${hex.slice(8)}-7abc-9def-0123456789ab`) === time &&
          keyTime(`${ulid}0123456789ABCDEF`) === time
        );
      }),
      { numRuns: 1_000 },
    );
  });
});
