import { Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { IDEMPOTENT_METADATA } from '../idempotency.constants.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';
import { RouteSettingsRegistry } from './route-settings.js';

/** Nest's metadata key for the interceptors of a method. */
const INTERCEPTORS = '__interceptors__';

type Handler = (...args: never[]) => unknown;
type Controller = new (...args: never[]) => unknown;

/** Looks at every decorated route once, while the application starts. */
@Injectable()
export class RouteExplorer {
  constructor(
    private readonly modules: ModulesContainer,
    private readonly settings: RouteSettingsRegistry,
  ) {
    // before Nest registers the routes
    for (const [, handler] of this.routes()) {
      placeInnermost(handler);
    }
  }

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for the first route that cannot work. */
  check(): void {
    for (const [controller, handler] of this.routes()) {
      this.settings.of(controller, handler);
    }
  }

  private *routes(): Generator<[Controller, Handler]> {
    for (const { controllers } of this.modules.values()) {
      for (const { metatype } of controllers.values()) {
        if (typeof metatype === 'function') {
          yield* handlersOf(metatype as Controller);
        }
      }
    }
  }
}

function* handlersOf(controller: Controller): Generator<[Controller, Handler]> {
  let prototype = controller.prototype as object | null;
  while (prototype !== null && prototype !== Object.prototype) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (
        typeof value === 'function' &&
        name !== 'constructor' && // the class itself, which may be decorated too
        Reflect.hasMetadata(IDEMPOTENT_METADATA, value as object)
      ) {
        yield [controller, value as Handler];
      }
    }
    prototype = Object.getPrototypeOf(prototype) as object | null;
  }
}

/**
 * The last of the method's interceptors, whatever the order of the decorators: those that parse the body
 * (file uploads) come first, and the fingerprint counts what they found.
 */
function placeInnermost(handler: Handler): void {
  const interceptors = (Reflect.getMetadata(INTERCEPTORS, handler) ?? []) as unknown[];
  const others = interceptors.filter((entry) => entry !== IdempotencyInterceptor);
  Reflect.defineMetadata(INTERCEPTORS, [...others, IdempotencyInterceptor], handler);
}
