import { AsyncLocalStorage } from 'node:async_hooks';
import type { IdempotencyContext } from './engine/attempt.js';
import type { Operation } from './engine/operation.js';

/** The idempotent operation that the code now running belongs to. */
export interface Call {
  /** Undefined where a request runs without protection: no key on an optional route, or a safe method. */
  readonly once: IdempotencyContext | undefined;
  /** What runs, so that an inner call of the same operation joins it. */
  readonly operation: Operation | undefined;
  /** The work belongs to many operations at once, of which this is one. */
  readonly isShared?: boolean;
  /** The call around this one. */
  readonly outer: Call | undefined;
  /** Whether the handler itself was reached, past guards and pipes. */
  handlerStarted: boolean;
  /** Its outcome is known: what still runs of it is no longer protected by it. */
  isOver: boolean;
}

export const calls = new AsyncLocalStorage<Call>();

/** A call inside of the one that runs now, if any; without arguments one that is not protected. */
export function newCall(once?: IdempotencyContext, operation?: Operation): Call {
  return { once, operation, outer: calls.getStore(), handlerStarted: false, isOver: false };
}

/** The running operation of a record, however deep inside of it the code is. */
export function enclosing(record: string): Call | undefined {
  for (let call = calls.getStore(); call !== undefined; call = call.outer) {
    if (call.operation?.id === record && !call.isOver) {
      return call;
    }
  }
  return undefined;
}

/** Whether the running code is part of an operation that has not ended. */
export function isProtected(): boolean {
  const call = calls.getStore();
  return call?.operation !== undefined && !call.isOver;
}
