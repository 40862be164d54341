import { judgeFailure, statusOf, type FailureVerdict } from '../engine/failure-policy.js';
import type { Outcome } from '../engine/operation.js';
import { recordResponse, type WireResponse } from './recorded-response.js';
import type { RouteSettings } from './route-settings.js';

/** The outcome of a handler that succeeded. Without a whole response there is nothing to replay. */
export function completion(
  response: WireResponse | undefined,
  { replayHeaders }: RouteSettings,
): Outcome {
  const result = response === undefined ? undefined : recordResponse(response, replayHeaders);
  return result === undefined ? { type: 'tombstone' } : { type: 'complete', result };
}

/** The outcome of a handler that failed, judged by the status that its error was answered with. */
export function failure(
  error: unknown,
  response: WireResponse | undefined,
  settings: RouteSettings,
): Outcome {
  switch (verdict(error, response?.status ?? statusOf(error), settings)) {
    case 'store':
      return completion(response, settings);
    case 'uncertain':
      return { type: 'uncertain' };
    default:
      return { type: 'release' };
  }
}

function verdict(error: unknown, status: number, { errors }: RouteSettings): FailureVerdict {
  try {
    return judgeFailure(errors, error, { status });
  } catch {
    // a policy that fails has said nothing: never run again by itself
    return 'uncertain';
  }
}
