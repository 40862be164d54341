import { describeCause } from '../describe-cause.js';
import { IdempotencyError } from '../engine/errors.js';

/** What was asked for is not there, or must not be done. */
export class Refusal extends Error {}

/** The command line itself cannot be carried out. */
export class UsageError extends Error {}

export function usageOf<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw error instanceof IdempotencyError ? new UsageError(error.message) : error;
  }
}

/** One sentence, without a driver's text: that may quote keys. */
export function sentenceOf(error: unknown): string {
  if (error instanceof Refusal || error instanceof UsageError) {
    return error.message;
  }
  if (error instanceof IdempotencyError) {
    return error.message + describeCause(error);
  }
  return `The database refused, or could not be reached${describeCause(new Error('', { cause: error }))}.`;
}
