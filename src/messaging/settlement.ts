import type { IdempotencyError } from '../engine/errors.js';
import type { AttemptsPolicy } from '../engine/operation.js';

/** How the handling of a message ended. */
export type MessageEnd =
  /** Processed, now or before. */
  | { readonly type: 'done'; readonly value: unknown; readonly isReplay: boolean }
  /** The handler threw, now or before. */
  | {
      readonly type: 'failed';
      readonly error: unknown;
      readonly isReplay: boolean;
      readonly isParked: boolean;
    }
  /** The handler returned, having said that the message is not done. */
  | { readonly type: 'rejected'; readonly value: unknown; readonly isParked: boolean }
  /** Nothing was run. */
  | { readonly type: 'refused'; readonly error: IdempotencyError };

export interface Ended {
  readonly end: MessageEnd;
  /** The record; undefined where it ran without protection. */
  readonly operation: string | undefined;
  /** When a failed message is to come again, in milliseconds. */
  readonly retryMs: number;
  /** What becomes of an event that is parked, where the transport has dead letters. */
  readonly onExhausted: AttemptsPolicy['onExhausted'];
}

/** Whether it has failed as often as it may, now or before. */
export function isParked(end: MessageEnd): boolean {
  return end.type === 'refused'
    ? end.error.code === 'IDEMPOTENCY_PARKED'
    : end.type !== 'done' && end.isParked;
}

/** How a transport is told what became of a message, once that is durable. */
export interface Settlement {
  /** Whether a handler that returned has said that the message is not done. */
  isRejected(operation: string | undefined, value: unknown): boolean;
  /** Answers what the transport is handed, or throws it. Called once, last of all. */
  settle(ended: Ended): unknown;
}

/** How long a message waits for somebody to correct the application. */
const MISCONFIGURED_RETRY_MS = 30_000;

export function retryAfterMs({ code, retryAfterSeconds = 1 }: IdempotencyError): number {
  switch (code) {
    case 'IDEMPOTENCY_SHUTTING_DOWN':
      return 0; // whoever takes over can begin at once
    case 'IDEMPOTENCY_MISCONFIGURED':
      return MISCONFIGURED_RETRY_MS;
    default:
      return retryAfterSeconds * 1_000;
  }
}
