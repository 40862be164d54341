import { isObservable, lastValueFrom, type Observable } from 'rxjs';
import { calls } from './call-context.js';
import { isEventStream } from './http/response-handling.js';
import { misconfigured } from './options-check.js';

type Handler = (...args: unknown[]) => unknown;

/**
 * The handler, except that it tells the call it runs in that it was reached, and never runs without one:
 * an idempotent method that runs unprotected, in silence, is the bug this library exists to prevent.
 */
export function protectedHandler(original: Handler, name: string): Handler {
  const handler = new Proxy(original, {
    apply(target, self, args) {
      const call = calls.getStore();
      if (call === undefined) {
        throw misconfigured(
          name,
          'it is idempotent, and was called without a request. Call it over HTTP, in tests too, ' +
            'or move what it does into a service and call that.',
        );
      }
      call.handlerStarted = true;
      const result: unknown = Reflect.apply(target, self, args);
      // decorators above ours write to this function, those beneath were copied to it
      return isEventStream(handler) ? result : lastValue(result);
    },
  });
  return handler;
}

/** Nest stops listening to a handler's Observable when the client hangs up. The outcome still counts. */
function lastValue(result: unknown): unknown {
  if (isObservable(result)) {
    return collect(result);
  }
  return result instanceof Promise
    ? result.then((value: unknown) => (isObservable(value) ? collect(value) : value))
    : result;
}

function collect(result: Observable<unknown>): Promise<unknown> {
  return lastValueFrom(result, { defaultValue: undefined });
}
