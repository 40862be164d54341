/** Node fires a timer at once that is set for longer. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, or when `signal` aborts. Never keeps the process alive. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, LONGEST_TIMER_MS)).unref();
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Between half of `ms` and `ms`, so that many processes do not move in step. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

export class StoreTimeoutError extends Error {
  override readonly name = 'StoreTimeoutError';
  readonly code = 'ETIMEDOUT';

  constructor(ms: number) {
    super(`The store did not answer within ${ms} ms.`);
  }
}

/**
 * The answer of `promise`, or a `StoreTimeoutError` after `ms`. What comes later is dropped. What is left of a
 * deadline may be less than nothing: an answer that is there already is still heard.
 */
export function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const timeoutMs = Math.min(Math.max(1, ms), LONGEST_TIMER_MS);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new StoreTimeoutError(timeoutMs)), timeoutMs).unref();
    promise.then(
      (answer) => {
        clearTimeout(timer);
        resolve(answer);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error as Error);
      },
    );
  });
}
