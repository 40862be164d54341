import { jest } from '@jest/globals';
import { tick } from 'nestjs-idempotency';

afterEach(() => jest.useRealTimers());

/** The key of a timer that fires at this time. */
const at = (time: string, ...args: Parameters<typeof tick>): string => {
  jest.useFakeTimers({ now: new Date(time) });
  return tick(...args)();
};

describe('tick()', () => {
  it.each([
    ['2026-03-01T05:00:00.000Z', 'on time'],
    ['2026-03-01T04:59:59.998Z', 'a moment early'],
    ['2026-03-01T05:20:00.000Z', 'late'],
  ])('is the same for a timer that fires at %s, %s', (time) => {
    expect(at(time, '1h')).toBe('2026-03-01T05:00:00.000Z');
  });

  it('is another one for the next tick, and for the one before', () => {
    const keys = ['04:59:59.999', '06:00:00.001', '03:00:00.000'].map((time) =>
      at(`2026-03-01T${time}Z`, '1h'),
    );
    expect(keys).toEqual([
      '2026-03-01T05:00:00.000Z',
      '2026-03-01T06:00:00.000Z',
      '2026-03-01T03:00:00.000Z',
    ]);
  });

  it('counts from an offset where the ticks lie between full periods', () => {
    expect(at('2026-03-01T11:59:59.999Z', '1d', '12h')).toBe('2026-03-01T12:00:00.000Z');
    expect(at('2026-03-01T12:00:00.001Z', '1d', '12h')).toBe('2026-03-01T12:00:00.000Z');
    expect(at('2026-03-02T11:59:59.999Z', '1d', '12h')).toBe('2026-03-02T12:00:00.000Z');
  });

  it.each<[time: string, ...Parameters<typeof tick>]>([
    ['2026-03-01T11:59:00.001Z', '1d'],
    ['2026-03-01T12:00:00.000Z', '1d'],
    ['2026-03-01T12:00:59.999Z', '1d'],
    ['2026-03-01T00:00:25.000Z', '1m'],
    ['2026-03-01T00:00:30.000Z', 60_000],
    ['2026-03-01T00:00:00.000Z', '1d', '12h'],
  ])('refuses %s, half way between two ticks of %p', (time, ...args) => {
    expect(() => at(time, ...args)).toThrow(
      expect.objectContaining({
        code: 'IDEMPOTENCY_MISCONFIGURED',
        message: expect.stringMatching(/^tick\(.+\): at 2026-.+ second argument/),
      }),
    );
  });

  it.each([
    ['2026-03-01T11:58:59.000Z', '2026-03-01T00:00:00.000Z'],
    ['2026-03-01T12:01:01.000Z', '2026-03-02T00:00:00.000Z'],
  ])('takes %s, which is clear', (time, key) => {
    expect(at(time, '1d')).toBe(key);
  });

  it.each([['hourly'], [''], [0], [-1], [undefined], ['1y']])('refuses %p at once', (period) => {
    expect(() => tick(period as '1h')).toThrow(
      expect.objectContaining({
        code: 'IDEMPOTENCY_MISCONFIGURED',
        message: expect.stringMatching(/is no duration\. Write milliseconds .* '30s'/),
      }),
    );
  });

  it('refuses an offset that is none', () => {
    expect(() => tick('1d', 'noon' as '12h')).toThrow("tick('1d', 'noon'): 'noon' is no duration.");
  });
});
