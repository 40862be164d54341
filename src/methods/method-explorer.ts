import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { classMethods } from '../class-methods.js';
import type { IdempotencyStore } from '../engine/store.js';
import { IDEMPOTENCY_SETTINGS } from '../idempotency.constants.js';
import { IdempotencyService } from '../idempotency.service.js';
import type { ModuleSettings } from '../idempotency.settings.js';
import { isMessageHandler } from '../messaging/handler-kind.js';
import { misconfigured } from '../options-check.js';
import { checkTransactions } from '../settled-options-check.js';
import { methodMetadata, operationName, type IdempotentMethodMetadata } from './method-metadata.js';
import type { AnyMethodOptions } from './method-options.js';
import { serviceStarted, serviceStopped } from './running-services.js';

/** Metadata key under which Nest keeps the path of a route. */
const ROUTE_PATH = 'path';

type Class = abstract new (...args: never[]) => unknown;

/** Looks at every method with a key once, while the application starts. */
@Injectable()
export class MethodExplorer implements OnApplicationShutdown {
  constructor(
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
    @Inject(IdempotencyService) private readonly service: IdempotencyService,
    @Inject(IDEMPOTENCY_SETTINGS) private readonly module: ModuleSettings,
  ) {}

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for the first method that cannot work. */
  check(store: IdempotencyStore): void {
    const owners = new Map<string, Class>();
    for (const [type, method, metadata] of this.methods()) {
      const operation = operationName(metadata, type);
      if (Reflect.hasMetadata(ROUTE_PATH, method)) {
        throw misconfigured(
          `${metadata.decorator} on ${operation}`,
          'it is a route, whose key comes with the request. Write @Idempotent() without key, or move ' +
            'what it does into a provider.',
        );
      }
      if (isMessageHandler(method)) {
        throw misconfigured(
          `${metadata.decorator} on ${operation}`,
          'it is a message handler, whose id comes with the message, and which has to be settled. Write ' +
            'messageId instead of key: the path of a field, or a function of the message.',
        );
      }
      if ((owners.get(operation) ?? type) !== type) {
        throw misconfigured(
          `${metadata.decorator} on ${operation}`,
          'two classes of this name have such a method. They would share their records, and one would ' +
            'be answered with results of the other. Rename one of the classes.',
        );
      }
      if ((metadata.options.mode ?? this.module.options.mode) === 'transactional') {
        checkTransactions(store, `${metadata.decorator} on ${operation}`);
      }
      owners.set(operation, type);
    }
  }

  /** From now on the service may be asked by instances that Nest did not create. */
  start(): void {
    serviceStarted(this.service);
  }

  onApplicationShutdown(): void {
    serviceStopped(this.service);
  }

  /** Every method with a key, and what its decorator says. */
  *settled(): Generator<[string, AnyMethodOptions]> {
    for (const [type, , metadata] of this.methods()) {
      yield [operationName(metadata, type), metadata.options];
    }
  }

  private *methods(): Generator<[Class, object, IdempotentMethodMetadata]> {
    for (const { controllers, providers } of this.modules.values()) {
      for (const { metatype, inject } of [...controllers.values(), ...providers.values()]) {
        // a factory has no class, and what it made is left alone
        if (typeof metatype === 'function' && inject == null) {
          yield* methodsOf(metatype as Class);
        }
      }
    }
  }
}

function* methodsOf(type: Class): Generator<[Class, object, IdempotentMethodMetadata]> {
  for (const { value } of classMethods(type.prototype as object | null | undefined)) {
    const metadata = methodMetadata(value);
    if (metadata !== undefined) {
      yield [type, value, metadata];
    }
  }
}
