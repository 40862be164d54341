import { judgeFailure, statusOf } from '../engine/failure-policy.js';
import type { KeptOutcome, Outcome } from '../engine/operation.js';
import { recordResponse, type WireResponse } from './recorded-response.js';
import type { RouteSettings } from './route-settings.js';

/** The outcome of a handler that succeeded. Without a whole response there is nothing to replay. */
export function completion(
  response: WireResponse | undefined,
  settings: RouteSettings,
): KeptOutcome {
  const result = response === undefined ? undefined : recordResponse(response, settings);
  return result === undefined ? { type: 'tombstone' } : { type: 'complete', result };
}

/** The outcome of a handler that failed, judged by the status that its error was answered with. */
export function failure(
  error: unknown,
  response: WireResponse | undefined,
  settings: RouteSettings,
): Outcome {
  switch (judgeFailure(settings.errors, error, { status: response?.status ?? statusOf(error) })) {
    case 'store':
      return completion(response, settings);
    case 'uncertain':
      return { type: 'uncertain' };
    default:
      return { type: 'release' };
  }
}
