import { AsyncLocalStorage } from 'node:async_hooks';
import type { IdempotencyContext } from './engine/attempt.js';

/** The idempotent operation that the code now running belongs to. */
export interface Call {
  /** Undefined where a request runs without protection: no key on an optional route, or a safe method. */
  readonly once: IdempotencyContext | undefined;
  /** The record's id, so that an inner call with the same key joins the outer one. */
  readonly record: string | undefined;
  /** The call around this one. */
  readonly outer: Call | undefined;
  /** Whether the handler itself was reached, past guards and pipes. */
  handlerStarted: boolean;
}

export const calls = new AsyncLocalStorage<Call>();

/** A call inside of the one that runs now, if any; without arguments one that is not protected. */
export function newCall(once?: IdempotencyContext, record?: string): Call {
  return { once, record, outer: calls.getStore(), handlerStarted: false };
}

/** The running operation of a record, however deep inside of it the code is. */
export function enclosing(record: string): IdempotencyContext | undefined {
  for (let call = calls.getStore(); call !== undefined; call = call.outer) {
    if (call.record === record) {
      return call.once;
    }
  }
  return undefined;
}
