import { Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { classMethods } from '../class-methods.js';
import { IDEMPOTENT_METADATA } from '../idempotency.constants.js';
import type { IdempotentOptions } from '../idempotency.options.js';
import type { IdempotencyStore } from '../engine/store.js';
import { checkClass, checkHandler } from '../messaging/handler-check.js';
import { entryPointOf } from '../messaging/handler-kind.js';
import { checkPlaces } from '../messaging/option-places.js';
import { misconfigured } from '../options-check.js';
import { checkTransactions } from '../settled-options-check.js';
import { isEventStream } from './response-handling.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';
import { RouteSettingsRegistry, type RouteSettings } from './route-settings.js';

/** Nest's metadata key for the interceptors of a method. */
const INTERCEPTORS = '__interceptors__';

type Handler = (...args: never[]) => unknown;
type Controller = new (...args: never[]) => unknown;

/** Looks at every decorated route and message handler once, while the application starts. */
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
  check(store: IdempotencyStore): void {
    const consumers = new Map<string, readonly [Controller, Handler]>();
    for (const controller of this.classes()) {
      const options = Reflect.getMetadata(IDEMPOTENT_METADATA, controller) as
        IdempotentOptions | undefined;
      if (options !== undefined) {
        checkClass(controller);
        const handlers = [...handlersOf(controller)].map(([, handler]) => handler);
        checkPlaces(options, handlers, `@Idempotent() on ${controller.name}`);
      }
    }
    for (const [controller, handler] of this.routes()) {
      const settings = this.settings.of(controller, handler);
      if (settings !== undefined) {
        checkHandler(settings.name, handler);
      }
      if (settings?.policy.mode === 'transactional') {
        checkTransactional(settings.name, handler, store);
      }
      if (settings !== undefined && entryPointOf(handler) !== 'route') {
        const { name, consumer } = settings;
        const [other, theirs] = consumers.get(consumer) ?? [controller, handler];
        if (other !== controller || theirs !== handler) {
          throw sharedConsumer(name, consumer, theirs === handler);
        }
        consumers.set(consumer, [controller, handler]);
      }
    }
  }

  /** Whether any route commits its effects together with its record. */
  get hasTransactions(): boolean {
    return [...this.routes()].some(
      ([controller, handler]) =>
        this.settings.of(controller, handler)?.policy.mode === 'transactional',
    );
  }

  /** Whether any route limits the live keys of a caller. */
  get limitsKeys(): boolean {
    return [...this.settled()].some(
      ([{ maxKeysPerScope }, handler]) =>
        maxKeysPerScope !== undefined && entryPointOf(handler) === 'route',
    );
  }

  /** Every decorated handler with what holds for it. */
  *settled(): Generator<[RouteSettings, Handler]> {
    for (const [controller, handler] of this.routes()) {
      const settings = this.settings.of(controller, handler);
      if (settings !== undefined) {
        yield [settings, handler];
      }
    }
  }

  private *routes(): Generator<[Controller, Handler]> {
    for (const controller of this.classes()) {
      yield* handlersOf(controller);
    }
  }

  private *classes(): Generator<Controller> {
    for (const { controllers, providers } of this.modules.values()) {
      for (const { metatype, inject } of [...controllers.values(), ...providers.values()]) {
        // a factory has no class
        if (typeof metatype === 'function' && inject == null) {
          yield metatype as Controller;
        }
      }
    }
  }
}

function sharedConsumer(name: string, consumer: string, isInherited: boolean): Error {
  return misconfigured(
    `@Idempotent() on ${name}`,
    `another handler is the consumer '${consumer}' too, and each would skip what the other has processed. ` +
      (isInherited
        ? 'Two classes inherit it: leave consumer out, so that each is named after its class, or decorate it in each.'
        : 'Write a consumer of its own.'),
  );
}

function checkTransactional(name: string, handler: Handler, store: IdempotencyStore): void {
  const where = `@Idempotent() on ${name}`;
  checkTransactions(store, where);
  if (isEventStream(handler)) {
    throw misconfigured(
      where,
      `option 'mode' is 'transactional', but its events go out before anything could be committed. Write ` +
        `mode: 'lease'.`,
    );
  }
}

function* handlersOf(controller: Controller): Generator<[Controller, Handler]> {
  for (const { value } of classMethods(controller.prototype as object | null)) {
    if (Reflect.hasMetadata(IDEMPOTENT_METADATA, value)) {
      yield [controller, value as Handler];
    }
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
