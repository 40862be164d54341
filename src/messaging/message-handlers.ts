import { Inject, Injectable, UseInterceptors } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { classMethods, type ClassMethod } from '../class-methods.js';
import { IDEMPOTENT_METADATA } from '../idempotency.constants.js';
import { isRabbitEventHandler, patternsOf } from './handler-kind.js';
import { matchesPattern } from './rabbitmq/pattern.js';
import { siblingInterceptor } from './rabbitmq/sibling-interceptor.js';

/** Classes may belong to many applications. */
const watched = new WeakSet<object>();

/** Which decorated handlers there are for an event: each of them gets every delivery of it. */
@Injectable()
export class MessageHandlers {
  private readonly patterns: readonly string[];

  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    const all = [...eventHandlers(modules)];
    this.patterns = all.filter(isDecorated).flatMap(({ value }) => patternsOf(value));
    // before Nest reads, when it listens, what is bound to them
    all
      .filter((handler) => !isDecorated(handler) && !watched.has(handler.value))
      .filter(({ value }) => patternsOf(value).some((pattern) => this.patterns.includes(pattern)))
      .forEach(({ prototype, name, value }) => {
        watched.add(value);
        UseInterceptors(siblingInterceptor)(prototype, name, { value });
      });
  }

  /** How many decorated handlers RabbitMQ's deliveries of this event reach; at least the one that asks. */
  ofEvent(routingKey: string): number {
    const exact = this.patterns.filter((pattern) => pattern === routingKey).length;
    // Nest asks the wildcards only when nobody has the very pattern
    const meant = exact > 0 ? exact : this.firstWildcard(routingKey);
    return Math.max(1, meant);
  }

  private firstWildcard(routingKey: string): number {
    const { patterns } = this;
    const first = patterns.find((pattern) => matchesPattern(pattern, routingKey));
    return patterns.filter((pattern) => pattern === first).length;
  }
}

function isDecorated({ value }: ClassMethod): boolean {
  return Reflect.hasMetadata(IDEMPOTENT_METADATA, value);
}

function* eventHandlers(modules: ModulesContainer): Generator<ClassMethod> {
  for (const { controllers } of modules.values()) {
    for (const { metatype } of controllers.values()) {
      for (const method of classMethods((metatype as { prototype?: object } | null)?.prototype)) {
        if (isRabbitEventHandler(method.value)) {
          yield method;
        }
      }
    }
  }
}
