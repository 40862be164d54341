import { isDeepStrictEqual } from 'node:util';
import { HttpException } from '@nestjs/common';
import type { IdempotencyCode, IdempotencyError } from '../engine/errors.js';

/** A problem of ours as RFC 9457 has it. */
export interface Problem {
  /** A page that explains the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: IdempotencyCode;
  /** Whether the same request with the same key may succeed later. */
  readonly retryable: boolean;
}

export const PROBLEM_CONTENT_TYPE = 'application/problem+json';
const DOCUMENTATION = 'https://www.npmjs.com/package/nestjs-idempotency#';

const PROBLEMS: Readonly<Record<IdempotencyCode, { title: string; retryable: boolean }>> = {
  IDEMPOTENCY_KEY_MISSING: { title: 'Idempotency key missing', retryable: false },
  IDEMPOTENCY_KEY_INVALID: { title: 'Idempotency key invalid', retryable: false },
  IDEMPOTENCY_KEY_REUSED: {
    title: 'Idempotency key used for another request',
    retryable: false,
  },
  IDEMPOTENCY_IN_PROGRESS: {
    title: 'Request with this idempotency key in progress',
    retryable: true,
  },
  IDEMPOTENCY_OUTCOME_UNCERTAIN: {
    title: 'Outcome of this idempotency key uncertain',
    retryable: false,
  },
  IDEMPOTENCY_RESULT_UNAVAILABLE: {
    title: 'Response of this idempotency key not kept',
    retryable: false,
  },
  IDEMPOTENCY_PARKED: { title: 'Operation of this idempotency key parked', retryable: false },
  IDEMPOTENCY_REPLAY_FORBIDDEN: { title: 'Replay forbidden', retryable: false },
  IDEMPOTENCY_KEY_EXPIRED: { title: 'Idempotency key expired', retryable: false },
  IDEMPOTENCY_TOO_MANY_KEYS: { title: 'Too many idempotency keys', retryable: true },
  IDEMPOTENCY_STORE_UNAVAILABLE: {
    title: 'Idempotency store unavailable',
    retryable: true,
  },
  IDEMPOTENCY_SHUTTING_DOWN: { title: 'Server shutting down', retryable: true },
  IDEMPOTENCY_RECORD_UNREADABLE: {
    title: 'Idempotency record unreadable',
    retryable: false,
  },
  IDEMPOTENCY_TRANSACTION_BROKEN: { title: 'Transaction broken', retryable: false },
  IDEMPOTENCY_TRANSACTION_CONFLICT: { title: 'Transaction conflict', retryable: true },
  IDEMPOTENCY_STEPS_CHANGED: {
    title: 'Steps of this operation changed',
    retryable: false,
  },
  IDEMPOTENCY_MISCONFIGURED: {
    title: 'Idempotency not configured',
    retryable: false,
  },
};

export function problemOf(error: IdempotencyError): Problem {
  const { title, retryable } = PROBLEMS[error.code];
  return {
    type: DOCUMENTATION + error.code.toLowerCase(),
    title,
    status: error.statusCode,
    detail: error.message,
    code: error.code,
    retryable,
  };
}

/**
 * What a request of a decorated route is answered with when it is turned away. Without a filter of the
 * application's own it goes out as `application/problem+json`.
 */
export class IdempotencyException extends HttpException {
  readonly code: IdempotencyCode;
  readonly retryAfterSeconds: number | undefined;

  constructor(error: IdempotencyError) {
    const problem = problemOf(error);
    super({ ...problem }, problem.status, { cause: error });
    this.message = problem.detail;
    this.name = 'IdempotencyException';
    this.code = error.code;
    this.retryAfterSeconds = error.retryAfterSeconds;
  }
}

/** Whether a response's body is the problem, however the platform spaced it. */
export function isProblem(body: Buffer, problem: Problem): boolean {
  try {
    return isDeepStrictEqual(JSON.parse(body.toString()), problem);
  } catch {
    return false;
  }
}
