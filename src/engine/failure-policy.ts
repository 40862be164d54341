/**
 * What becomes of a key whose handler threw. `store`: the error is the outcome and is replayed.
 * `release`: a retry runs again. `uncertain`: nothing runs again by itself.
 */
export type FailureVerdict = 'store' | 'release' | 'uncertain';

export interface FailureInfo {
  /** The HTTP status that the error was answered with, or carries; 500 when it has none. */
  readonly status: number;
}

/**
 * - `'release'`: failures are not stored.
 * - `'store-client-errors'`: 4xx answers are stored, all others released.
 * - `'store-all'`: every error is stored.
 *
 * No preset stores 401, 403, 408, 409, 423, 425, 429 or 502 to 504: they speak of the moment, not of
 * the request. Rejections before the handler began (guards, pipes, throttling) are always released.
 */
export type FailurePolicy =
  | 'release'
  | 'store-client-errors'
  | 'store-all'
  | ((error: unknown, info: FailureInfo) => FailureVerdict);

const OF_THE_MOMENT = new Set([401, 403, 408, 409, 423, 425, 429, 502, 503, 504]);

/**
 * A function of the application that throws, or answers something else, has said nothing: `uncertain`, and
 * nothing runs again by itself.
 */
export function judgeFailure(
  policy: FailurePolicy,
  error: unknown,
  { status }: FailureInfo,
): FailureVerdict {
  if (typeof policy === 'function') {
    return ask(policy, error, { status });
  }
  if (policy === 'release' || OF_THE_MOMENT.has(status)) {
    return 'release';
  }
  return policy === 'store-all' || (status >= 400 && status < 500) ? 'store' : 'release';
}

function ask(
  policy: Extract<FailurePolicy, (...args: never[]) => unknown>,
  error: unknown,
  info: FailureInfo,
): FailureVerdict {
  let verdict: unknown;
  try {
    verdict = policy(error, info);
  } catch {
    // it has said nothing
  }
  return verdict === 'store' || verdict === 'release' ? verdict : 'uncertain';
}

/** The status that an error carries, as Nest's `HttpException` and most HTTP errors do; else 500. */
export function statusOf(error: unknown): number {
  if (error === null || typeof error !== 'object') {
    return 500;
  }
  const carrier = error as { getStatus?: unknown; status?: unknown; statusCode?: unknown };
  const status =
    typeof carrier.getStatus === 'function'
      ? (carrier.getStatus() as unknown)
      : (carrier.status ?? carrier.statusCode);
  return typeof status === 'number' && status >= 400 && status <= 599 ? status : 500;
}
