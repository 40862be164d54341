import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { classMethods, type ClassMethod } from '../class-methods.js';
import { IDEMPOTENT_METADATA } from '../idempotency.constants.js';
import { isRabbitEventHandler, patternsOf } from './handler-kind.js';
import { matchesPattern } from './rabbitmq/pattern.js';

type Module = ModulesContainer extends Map<string, infer M> ? M : never;
type EventHandler = ClassMethod & { readonly module: Module };

/** Which handlers there are for an event of RabbitMQ: each of them gets every delivery of it. */
@Injectable()
export class MessageHandlers {
  private readonly patterns: readonly string[];
  /** Those that are not decorated beside one that is. */
  readonly siblings: readonly EventHandler[];

  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    const all = [...eventHandlers(modules)];
    this.patterns = all.filter(isDecorated).flatMap(({ value }) => patternsOf(value));
    this.siblings = all
      .filter((handler) => !isDecorated(handler))
      .filter(({ value }) => patternsOf(value).some((pattern) => this.patterns.includes(pattern)));
  }

  /** How many decorated handlers RabbitMQ's deliveries of this event reach. */
  ofEvent(routingKey: string): number {
    const exact = this.patterns.filter((pattern) => pattern === routingKey).length;
    // Nest asks the wildcards only when nobody has the very pattern
    return exact > 0 ? exact : this.firstWildcard(routingKey);
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

function* eventHandlers(modules: ModulesContainer): Generator<EventHandler> {
  for (const module of modules.values()) {
    for (const { metatype } of module.controllers.values()) {
      for (const method of classMethods((metatype as { prototype?: object } | null)?.prototype)) {
        if (isRabbitEventHandler(method.value)) {
          yield { ...method, module };
        }
      }
    }
  }
}
