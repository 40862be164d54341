import { Logger } from '@nestjs/common';
import { calls, newCall, type Call } from './call-context.js';
import type { IdempotencyContext } from './engine/attempt.js';
import type { IdempotencyEngine } from './engine/engine.js';
import { isControlFlow } from './engine/control-flow.js';
import type { FailureVerdict } from './engine/failure-policy.js';
import { encodeFailure } from './engine/last-failure.js';
import type { KeptOutcome, Operation, Outcome } from './engine/operation.js';
import { decodeOutcome, encodeError, encodeValue } from './value-codec.js';

const logger = new Logger('Idempotency');

/** An operation whose outcome is the value that its work answers, or the error that it throws. */
export interface ValueRun<T> {
  readonly operation: Operation;
  /** Begins what is said of it in the log. */
  readonly where: string;
  readonly maxResultBytes: number;
  judge(error: unknown, call: Call): FailureVerdict;
  work(once: IdempotencyContext): T | Promise<T>;
}

/** `isReplay`: it is what an earlier attempt came to, and nothing ran now. */
export type ValueEnd<T> = (
  | { readonly value: T }
  /** Thrown by the work, now or then. */
  | { readonly error: unknown }
) & {
  readonly isReplay: boolean;
  /** It failed as often as it may, and is not run again before it is redriven. */
  readonly isParked: boolean;
};

/** @throws IdempotencyError as `IdempotencyEngine.run()` */
export async function runForValue<T>(
  engine: IdempotencyEngine,
  { operation, where, maxResultBytes, judge, work }: ValueRun<T>,
): Promise<ValueEnd<T>> {
  let own: { value: T } | { error: unknown } | undefined;
  const kept = (result: Uint8Array | undefined) => keptWithin(result, maxResultBytes, where);
  const result = await engine.run(operation, async (attempt): Promise<Outcome> => {
    const call = newCall(attempt, operation);
    try {
      own = { value: await calls.run(call, async () => work(attempt)) };
      return { ...kept(encodeValue(own.value)), returned: true, repeatable: true };
    } catch (error) {
      if (attempt.runsAgain(error)) {
        return { type: 'again' };
      }
      own = { error };
      if (isControlFlow(error)) {
        return { type: 'release', counted: false };
      }
      switch (judge(error, call)) {
        case 'store':
          return kept(encodeError(error));
        case 'uncertain':
          return { type: 'uncertain', failure: encodeFailure(error) };
        default:
          return { type: 'release', failure: encodeFailure(error) };
      }
    } finally {
      call.isOver = true;
    }
  });
  if (result.type !== 'replayed') {
    const isParked = result.type === 'executed' && result.parked === true;
    return { ...(own as { value: T } | { error: unknown }), isReplay: false, isParked };
  }
  const outcome = decodeOutcome(result.outcome);
  return { ...(outcome as { value: T } | { error: unknown }), isReplay: true, isParked: false };
}

/** The result, or that it cannot be kept, of which the log is told. */
export function keptWithin(
  result: Uint8Array | undefined,
  maxBytes: number,
  where: string,
): KeptOutcome {
  if (result !== undefined && result.length <= maxBytes) {
    return { type: 'complete', result };
  }
  logger.warn(
    `${where}: its result ` +
      (result === undefined
        ? 'holds a function, a symbol or an instance of a class'
        : `is larger than maxResultBytes (${maxBytes})`) +
      ' and was not kept. A retry gets IDEMPOTENCY_RESULT_UNAVAILABLE. Return plain data.',
  );
  return { type: 'tombstone' };
}
