import { AsyncLocalStorage } from 'node:async_hooks';
import type { IdempotencyContext } from './engine/attempt.js';

/** The idempotent operation that the code now running belongs to. */
export interface Call {
  /** Undefined where a request runs without protection: no key on an optional route, or a safe method. */
  readonly once: IdempotencyContext | undefined;
  /** The record's id, so that an inner call with the same key joins the outer one. */
  readonly record: string | undefined;
  /** Whether the handler itself was reached, past guards and pipes. */
  handlerStarted: boolean;
}

export const calls = new AsyncLocalStorage<Call>();
