import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { IDEMPOTENT_METADATA } from '../idempotency.constants.js';
import { entryPointOf, isEventHandler, patternsOf } from './handler-kind.js';
import { matchesPattern } from './rabbitmq/pattern.js';

/** Nest's metadata key of the transport of a message handler, and the value that means RabbitMQ. */
const TRANSPORT = 'microservices:transport';
const RABBITMQ = 5;

/** Which decorated handlers there are for an event: each of them gets every delivery of it. */
@Injectable()
export class MessageHandlers {
  private patterns: readonly string[] | undefined;

  constructor(@Inject(ModulesContainer) private readonly modules: ModulesContainer) {}

  /** How many decorated handlers RabbitMQ's deliveries of this event reach; at least the one that asks. */
  ofEvent(routingKey: string): number {
    this.patterns ??= [...this.eventPatterns()];
    const exact = this.patterns.filter((pattern) => pattern === routingKey).length;
    // Nest asks the wildcards only when nobody has the very pattern
    const meant = exact > 0 ? exact : this.firstWildcard(routingKey);
    return Math.max(1, meant);
  }

  private firstWildcard(routingKey: string): number {
    const { patterns = [] } = this;
    const first = patterns.find((pattern) => matchesPattern(pattern, routingKey));
    return patterns.filter((pattern) => pattern === first).length;
  }

  private *eventPatterns(): Generator<string> {
    for (const { controllers } of this.modules.values()) {
      for (const { metatype } of controllers.values()) {
        for (const handler of decoratedOf((metatype as { prototype?: object } | null)?.prototype)) {
          const transport = Reflect.getMetadata(TRANSPORT, handler) as unknown;
          const isRabbit = transport === undefined || transport === RABBITMQ;
          if (isRabbit && isEventHandler(handler)) {
            yield* patternsOf(handler);
          }
        }
      }
    }
  }
}

function* decoratedOf(prototype: object | undefined): Generator<object> {
  const seen = new Set<string>();
  let level: object | null | undefined = prototype;
  while (level != null && level !== Object.prototype) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      if (typeof value === 'function' && name !== 'constructor' && !seen.has(name)) {
        seen.add(name);
        const handler = value as object;
        if (
          entryPointOf(handler) === 'message' &&
          Reflect.hasMetadata(IDEMPOTENT_METADATA, handler)
        ) {
          yield handler;
        }
      }
    }
    level = Object.getPrototypeOf(level) as object | null;
  }
}
