import { judgeFailure, statusOf } from '../../src/engine/failure-policy.js';

const OF_THE_MOMENT = [401, 403, 408, 409, 423, 425, 429, 502, 503, 504];
const STATUSES = Array.from({ length: 200 }, (_, index) => 400 + index);

describe('judgeFailure', () => {
  const stored = (policy: Parameters<typeof judgeFailure>[0]): number[] =>
    STATUSES.filter((status) => judgeFailure(policy, new Error('x'), { status }) === 'store');

  it('stores nothing by default', () => {
    expect(stored('release')).toEqual([]);
  });

  it('stores client errors that speak of the request', () => {
    expect(stored('store-client-errors')).toEqual(
      STATUSES.filter((status) => status < 500 && !OF_THE_MOMENT.includes(status)),
    );
  });

  it('stores every error that speaks of the request', () => {
    expect(stored('store-all')).toEqual(
      STATUSES.filter((status) => !OF_THE_MOMENT.includes(status)),
    );
  });

  it('releases a failure that was answered with success', () => {
    expect(judgeFailure('store-client-errors', new Error('x'), { status: 200 })).toBe('release');
  });

  it('asks a function with the error and its status', () => {
    const error = new Error('x');
    const verdict = judgeFailure(
      (given, { status }) => (given === error && status === 418 ? 'uncertain' : 'release'),
      error,
      { status: 418 },
    );
    expect(verdict).toBe('uncertain');
  });
});

describe('a function that gives its verdict', () => {
  it.each(['store', 'release', 'uncertain'] as const)('%s is heard', (verdict) => {
    expect(judgeFailure(() => verdict, new Error('x'), { status: 503 })).toBe(verdict);
  });
});

describe('a function that gives no verdict', () => {
  it.each<[string, () => unknown]>([
    ['throws', () => JSON.parse('{')],
    ['answers nothing', () => undefined],
    ['answers another word', () => 'retry'],
    ['answers later', () => Promise.resolve('store')],
  ])('and %s leaves the outcome uncertain: nothing runs again by itself', (_, policy) => {
    expect(judgeFailure(policy as never, new Error('x'), { status: 500 })).toBe('uncertain');
  });
});

describe('statusOf', () => {
  it.each([
    [{ getStatus: (): number => 404 }, 404],
    [{ status: 422 }, 422],
    [{ statusCode: 503 }, 503],
    [{ getStatus: (): number => 404, status: 500 }, 404],
    [{ status: 400 }, 400],
    [{ status: 599 }, 599],
    [{ status: 399 }, 500],
    [{ status: 600 }, 500],
    [{ status: '404' }, 500],
    [new Error('x'), 500],
    [null, 500],
    [undefined, 500],
    ['404', 500],
    [404, 500],
  ])('of %p is %i', (error, status) => {
    expect(statusOf(error)).toBe(status);
  });
});
