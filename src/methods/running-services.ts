import { Inject, Optional } from '@nestjs/common';
import { IdempotencyService } from '../idempotency.service.js';
import { misconfigured } from '../options-check.js';

const SERVICE = Symbol('nestjs-idempotency:service');

const running = new Set<IdempotencyService>();

/** A service whose store has answered, for the instances that Nest did not create. */
export function serviceStarted(service: IdempotencyService): void {
  running.add(service);
}

export function serviceStopped(service: IdempotencyService): void {
  running.delete(service);
}

/**
 * Lets Nest inject the service into every instance of the class, of whatever scope: only its injector
 * knows which application and module an instance belongs to.
 */
export function injectService(prototype: object): void {
  if (SERVICE in prototype) {
    return;
  }
  Object.defineProperty(prototype, SERVICE, {
    // kept out of sight of whoever looks at the instance
    set(this: object, value: IdempotencyService) {
      Object.defineProperty(this, SERVICE, { value, configurable: true });
    },
    configurable: true,
  });
  Inject(IdempotencyService)(prototype, SERVICE);
  Optional()(prototype, SERVICE);
}

/**
 * The service that protects the calls of this instance.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` where there is none, or more than one.
 */
export function serviceOf(self: unknown, where: string): IdempotencyService {
  const injected = (self as { [SERVICE]?: IdempotencyService } | undefined)?.[SERVICE];
  if (injected !== undefined) {
    return injected;
  }
  const [only] = running;
  if (only === undefined) {
    throw misconfigured(
      where,
      'it is idempotent, and no IdempotencyModule is running. Import IdempotencyModule.forRoot() in the ' +
        'root module, and call the method once the application is initialised. In tests too: ' +
        'forRoot({ store: memoryStore() }).',
    );
  }
  if (running.size > 1) {
    throw misconfigured(
      where,
      `it is idempotent, Nest did not create its instance, and ${running.size} IdempotencyModules are ` +
        'running: which one is meant cannot be known. Let Nest create it (provide the class itself), or ' +
        'write IdempotencyService.execute().',
    );
  }
  return only;
}
