import { IdempotencyError } from '../engine/errors.js';
import { operationName, type IdempotentMethodMetadata } from './method-metadata.js';
import { serviceOf } from './running-services.js';

type Method = (...args: unknown[]) => unknown;

/** Metadata key under which `@nestjs/schedule` keeps what kind of timer calls a method. */
const SCHEDULER_TYPE = 'SCHEDULER_TYPE';

/** The method, except that each call of it is an idempotent operation. Always answers a promise. */
export function protectedMethod(original: Method, metadata: IdempotentMethodMetadata): Method {
  const method = new Proxy(original, {
    apply: async (target, self: unknown, args) => {
      const { key, scope, payload, ...policies } = metadata.options;
      const operation = operationName(metadata, typeOf(self, metadata.target));
      let began = false;
      try {
        return await serviceOf(self, operation).execute(
          {
            ...policies,
            operation,
            key: key(...args),
            scope: scope?.(...args),
            payload: payload?.(...args),
          },
          () => {
            began = true;
            return Reflect.apply(target, self, args);
          },
        );
      } catch (error) {
        if (began) {
          throw error;
        }
        // decorators above ours write to the method, those beneath were copied to it
        if (isElsewhere(error) && Reflect.hasMetadata(SCHEDULER_TYPE, method)) {
          // another instance has this tick, or will have the next one: nobody waits for its result, and the scheduler would log an error
          return undefined;
        }
        if (metadata.onRefusal !== undefined) {
          return metadata.onRefusal(error, args);
        }
        throw error;
      }
    },
  });
  return method;
}

/** The class of the instance; `undefined` for a call on something else. */
function typeOf(self: unknown, target: object): unknown {
  if (typeof target === 'function') {
    return self;
  }
  return Object.prototype.isPrototypeOf.call(target, self as object)
    ? (self as object).constructor
    : undefined;
}

function isElsewhere(error: unknown): boolean {
  return (
    error instanceof IdempotencyError &&
    ['IDEMPOTENCY_IN_PROGRESS', 'IDEMPOTENCY_SHUTTING_DOWN'].includes(error.code)
  );
}
