import type { IdempotencyCode } from './errors.js';
import type { Escape } from './store.js';

/** What every hook is told. Never a raw key, a scope, a body or a credential. */
export interface IdempotencyEvent {
  /** Which handler or operation, for example `OrdersController.place`. */
  readonly handler: string;
  /** The record's id, a digest: the same for every retry of one key. Absent when there was no usable key. */
  readonly record?: string;
}

export interface AttemptEvent extends IdempotencyEvent {
  /** 1 for the first run of a key. */
  readonly attempt: number;
}

/** What hooks are told of an attempt. */
export function attemptEvent(
  { handler, id }: { readonly handler: string; readonly id: string },
  { attempt }: { readonly attempt: number },
): AttemptEvent {
  return { handler, record: id, attempt };
}

/**
 * Called for what happens to keys, for metrics and logs. A hook returns nothing, is not awaited, and
 * what it throws is dropped.
 */
export interface IdempotencyHooks {
  /** The handler ran and its outcome is recorded (`stored`: with its result; else as a tombstone). */
  onExecuted?(event: AttemptEvent & { readonly stored: boolean }): void;
  /** A recorded outcome was answered and nothing ran. */
  onReplayed?(event: IdempotencyEvent): void;
  /** A request was turned away with this code and nothing ran. */
  onRejected?(event: IdempotencyEvent & { readonly code: IdempotencyCode }): void;
  /** The attempt follows one that died: its lease ran out before an outcome was recorded. */
  onTakenOver?(event: AttemptEvent): void;
  /** A duplicate waited for another attempt of its key, for so many milliseconds, and waits no longer. */
  onWaited?(event: IdempotencyEvent & { readonly ms: number }): void;
  /** The attempt was given up while it ran: its lease was lost, or it outlived `maxDuration` or the shutdown. */
  onLeaseLost?(event: AttemptEvent): void;
  /** The attempt failed and the key was given back, so that a retry runs. */
  onReleased?(event: AttemptEvent): void;
  /** The attempt ended without a known outcome. */
  onUncertain?(event: AttemptEvent): void;
  /** The attempt was the last that `attempts.max` allows, and failed: it is not run again before it is redriven. */
  onParked?(event: AttemptEvent): void;
  /** Work of a transactional operation left its transaction. */
  onEscaped?(event: IdempotencyEvent & { readonly escape: Escape }): void;
  /** Cleanup deleted this many expired records. */
  onExpired?(event: { readonly deleted: number }): void;
  /** The store was down and `onStoreFailure: 'open'` let the handler run without protection. */
  onUnprotected?(event: IdempotencyEvent): void;
  /** The handler's work is done but could not be recorded yet; `final`: and no longer will be. */
  onRecordingFailed?(event: AttemptEvent & { readonly final: boolean }): void;
}

export type Emit = <Name extends keyof IdempotencyHooks>(
  name: Name,
  event: Parameters<NonNullable<IdempotencyHooks[Name]>>[0],
) => void;

/** Calls hooks so that none of them can disturb an operation. */
export function emitterFor(hooks: IdempotencyHooks): Emit {
  return (name, event) => {
    const hook = hooks[name] as ((event: unknown) => void) | undefined;
    if (hook === undefined) {
      return;
    }
    // async, so that a hook which answers a promise cannot disturb by its rejection either
    const call = async (): Promise<void> => hook.call(hooks, event);
    void call().catch(() => undefined);
  };
}
