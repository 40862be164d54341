import { checkExecuteOptions } from '../handler-options-check.js';
import { IDEMPOTENT_METADATA } from '../idempotency.constants.js';
import { isRecord, show } from '../option-values.js';
import { misconfigured } from '../options-check.js';
import {
  IDEMPOTENT_METHOD_METADATA,
  methodMetadata,
  type IdempotentMethodMetadata,
  type MethodEntry,
} from './method-metadata.js';
import type { AnyMethodOptions } from './method-options.js';
import { protectedMethod } from './protected-method.js';
import { injectService } from './running-services.js';

/** Whether the options are those of a method; `{ key: undefined }` is a mistake, and not a route. */
export function isMethodOptions(options: object): options is AnyMethodOptions {
  return isRecord(options) && 'key' in options;
}

/**
 * Wraps the method while its class is defined, because the schedulers, buses and queues that call it take
 * hold of it before anybody else could.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for options that cannot work.
 */
export function decorateMethod(
  options: AnyMethodOptions,
  target: object,
  property?: string | symbol,
  descriptor?: PropertyDescriptor,
  entry: MethodEntry = { decorator: '@Idempotent({ key })' },
): void {
  const className = (typeof target === 'function' ? target : target.constructor).name;
  const where = `${entry.decorator} on ${className}${property === undefined ? '' : `.${String(property)}`}`;
  const original: unknown = descriptor?.value;
  if (property === undefined || descriptor === undefined || typeof original !== 'function') {
    throw misconfigured(
      where,
      'it is not a method. Write it on each method, with the key of its calls.',
    );
  }
  checkMethodOptions(options, where);
  if (Reflect.hasMetadata(IDEMPOTENT_METADATA, original)) {
    throw bothForms(where);
  }
  const earlier = methodMetadata(original);
  if (earlier !== undefined) {
    if (entry.onRefusal !== undefined) {
      throw misconfigured(where, 'the method is decorated twice. Write one of the decorators.');
    }
    earlier.options = { ...earlier.options, ...options };
    return;
  }
  const metadata: IdempotentMethodMetadata = { ...entry, options, target, className, property };
  const method = protectedMethod(original as (...args: unknown[]) => unknown, metadata);
  for (const key of Reflect.getOwnMetadataKeys(original)) {
    Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, original), method);
  }
  Reflect.defineMetadata(IDEMPOTENT_METHOD_METADATA, metadata, method);
  descriptor.value = method;
  if (typeof target !== 'function') {
    injectService(target);
  }
}

export function bothForms(where: string): Error {
  return misconfigured(
    where,
    'it is decorated as a route and as a method. Write @Idempotent() on the route, and move what has a ' +
      'key of its own into a provider.',
  );
}

function checkMethodOptions(options: AnyMethodOptions, where: string): void {
  const { key, scope, payload, ...policies } = options;
  const functions = { key, scope, payload };
  for (const [name, value] of Object.entries(functions)) {
    if (typeof value !== 'function' && (value !== undefined || name === 'key')) {
      throw misconfigured(
        where,
        `option '${name}' is ${show(value)}. Write a function of the method's arguments.`,
      );
    }
  }
  checkExecuteOptions(policies, where);
}
