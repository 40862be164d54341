import { RequestMethod, UseInterceptors } from '@nestjs/common';
import { classMethods } from './class-methods.js';
import { checkIdempotentOptions } from './handler-options-check.js';
import { protectedHandler } from './protected-handler.js';
import { IdempotencyInterceptor } from './http/idempotency.interceptor.js';
import { IDEMPOTENT_METADATA } from './idempotency.constants.js';
import type { IdempotentOptions } from './idempotency.options.js';
import type { IdempotentMetadata } from './idempotent.metadata.js';
import { isMutation } from './messaging/handler-check.js';
import { isMessageHandler } from './messaging/handler-kind.js';
import { bothForms, decorateMethod, isMethodOptions } from './methods/decorate-method.js';
import { methodMetadata } from './methods/method-metadata.js';
import type {
  AnyMethodOptions,
  IdempotentMethodDecorator,
  IdempotentMethodOptions,
} from './methods/method-options.js';
import { misconfigured } from './options-check.js';

type Class = abstract new (...args: never[]) => unknown;

/** Metadata key under which Nest keeps the HTTP method of a route. */
const ROUTE_METHOD = 'method';
const SAFE_METHODS = [RequestMethod.GET, RequestMethod.HEAD, RequestMethod.OPTIONS];

/**
 * Makes a handler safe to retry. On a route: a request with the same `Idempotency-Key` is carried out once, and every
 * retry gets the first answer, byte for byte. On a message handler (`@MessagePattern()`, `@EventPattern()`,
 * `@RabbitSubscribe()`, `@RabbitRPC()`) or a GraphQL mutation: a message with the same id is processed once by it. On a
 * class: every message handler and mutation of it, and every route but GET, HEAD and OPTIONS.
 *
 * It binds its interceptor itself, and works in every order with `@UseInterceptors()` and the others.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` while the class is defined, for an unknown or
 *   impossible option.
 */
export function Idempotent(
  options?: IdempotentOptions & { key?: never },
): MethodDecorator & ClassDecorator;
/**
 * Makes any method of a provider safe to retry: calls with the same key are carried out once, and every
 * retry gets the first result, with its types. Works for plain providers, CQRS handlers, `@OnEvent()`,
 * `@Cron()` and BullMQ's `process`, of every scope, in whatever order the decorators stand.
 *
 * A call throws what the method throws; IdempotencyError with the codes of `IdempotencyService.execute()`;
 * and `IDEMPOTENCY_MISCONFIGURED` while no IdempotencyModule is running: it never runs unprotected. In a
 * method that `@nestjs/schedule` calls, `IDEMPOTENCY_IN_PROGRESS` is answered with `undefined` instead.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` while the class is defined, for an unknown or
 *   impossible option; when the application starts, for a route.
 */
export function Idempotent<
  KeyArgs extends unknown[],
  ScopeArgs extends unknown[],
  PayloadArgs extends unknown[],
>(
  options: IdempotentMethodOptions<KeyArgs, ScopeArgs, PayloadArgs>,
): IdempotentMethodDecorator<KeyArgs, ScopeArgs, PayloadArgs>;
export function Idempotent(
  options: IdempotentOptions | AnyMethodOptions = {},
): MethodDecorator & ClassDecorator {
  if (arguments.length > 1 || typeof options === 'function') {
    throw misconfigured('@Idempotent', 'the parentheses are missing. Write @Idempotent().');
  }
  const decorate = (
    target: object,
    name?: string | symbol,
    descriptor?: PropertyDescriptor,
  ): void => {
    if (isMethodOptions(options)) {
      decorateMethod(options, target, name, descriptor);
      return;
    }
    if (name === undefined) {
      decorateClass(target as Class, options);
      return;
    }
    const where = `@Idempotent() on ${target.constructor.name}.${String(name)}`;
    checkIdempotentOptions(options, where);
    if (typeof descriptor?.value !== 'function') {
      throw misconfigured(
        where,
        'it is not a method. Decorate a route handler or a controller class.',
      );
    }
    if (methodMetadata(descriptor.value as object) !== undefined) {
      throw bothForms(where);
    }
    decorateRoute(target, name, descriptor, {
      options,
      property: name,
      level: 'method',
    });
  };
  return decorate as MethodDecorator & ClassDecorator;
}

function decorateClass(target: Class, options: IdempotentOptions): void {
  const where = `@Idempotent() on ${target.name}`;
  checkIdempotentOptions(options, where);
  if (options.consumer !== undefined) {
    throw misconfigured(
      where,
      "option 'consumer' would be the same for all its handlers, which would skip each other's messages. " +
        'Write it on each handler.',
    );
  }
  Reflect.defineMetadata(IDEMPOTENT_METADATA, options, target);
  for (const { name, descriptor, value } of classMethods(target.prototype as object)) {
    const method = Reflect.getMetadata(ROUTE_METHOD, value) as RequestMethod | undefined;
    const isDecorated = Reflect.hasMetadata(IDEMPOTENT_METADATA, value);
    const changesState =
      method === undefined
        ? isMessageHandler(value) || isMutation(value)
        : !SAFE_METHODS.includes(method);
    if (changesState && !isDecorated) {
      decorateRoute(target.prototype as object, name, descriptor, {
        options: {},
        property: name,
        level: 'class',
      });
      Object.defineProperty(target.prototype, name, descriptor);
    }
  }
}

function decorateRoute(
  target: object,
  name: string | symbol,
  descriptor: PropertyDescriptor,
  metadata: IdempotentMetadata,
): void {
  const original = descriptor.value as (...args: unknown[]) => unknown;
  const earlier = Reflect.getMetadata(IDEMPOTENT_METADATA, original) as
    IdempotentMetadata | undefined;
  if (earlier !== undefined) {
    const merged = { ...metadata, options: { ...earlier.options, ...metadata.options } };
    Reflect.defineMetadata(IDEMPOTENT_METADATA, merged, original);
    return;
  }
  const handler = protectedHandler(original, `${target.constructor.name}.${String(name)}`);
  for (const key of Reflect.getOwnMetadataKeys(original)) {
    Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, original), handler);
  }
  Reflect.defineMetadata(IDEMPOTENT_METADATA, metadata, handler);
  descriptor.value = handler;
  UseInterceptors(IdempotencyInterceptor)(target, name, descriptor);
}
