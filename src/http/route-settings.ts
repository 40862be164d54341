import { Inject, Injectable } from '@nestjs/common';
import { IDEMPOTENCY_SETTINGS, IDEMPOTENT_METADATA } from '../idempotency.constants.js';
import type { IdempotentOptions } from '../idempotency.options.js';
import {
  defined,
  operationSettings,
  type ModuleSettings,
  type OperationSettings,
} from '../idempotency.settings.js';
import type { IdempotentMetadata } from '../idempotent.metadata.js';
import { entryPointOf, isMessageHandler, isRabbitEventHandler } from '../messaging/handler-kind.js';
import { misconfigured } from '../options-check.js';
import type { MessageSettings } from '../messaging/message-options.js';
import { checkPlaces } from '../messaging/option-places.js';
import { answersByItself } from './response-handling.js';

/** What holds for a route or message handler. */
export interface RouteSettings extends OperationSettings, MessageSettings {
  /** `Class.method`, for people. */
  readonly name: string;
  /** Whether the handler writes the response itself. */
  readonly answersByItself: boolean;
  /** Whether the route is idempotent only because its class is. */
  readonly byClass: boolean;
}

/** A message that comes again is in nobody's way while it waits. */
const MESSAGE_DEFAULTS = { onConcurrent: 'wait' } as const;

type Handler = (...args: never[]) => unknown;
type Controller = new (...args: never[]) => unknown;

/** The effective settings of each decorated route: its own over its class's over the module's. */
@Injectable()
export class RouteSettingsRegistry {
  private readonly known = new Map<Handler, Map<Controller, RouteSettings>>();

  constructor(@Inject(IDEMPOTENCY_SETTINGS) private readonly module: ModuleSettings) {}

  /**
   * `undefined` for a handler that is not decorated.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when route and module contradict each other.
   */
  of(controller: Controller, handler: Handler): RouteSettings | undefined {
    const settings = this.known.get(handler)?.get(controller) ?? this.resolve(controller, handler);
    if (settings !== undefined) {
      const byController = this.known.get(handler) ?? new Map<Controller, RouteSettings>();
      this.known.set(handler, byController.set(controller, settings));
    }
    return settings;
  }

  private resolve(controller: Controller, handler: Handler): RouteSettings | undefined {
    const metadata = Reflect.getMetadata(IDEMPOTENT_METADATA, handler) as
      IdempotentMetadata | undefined;
    if (metadata === undefined) {
      return undefined;
    }
    const ofClass = Reflect.getMetadata(IDEMPOTENT_METADATA, controller) as
      IdempotentOptions | undefined;
    const { options, property, level } = metadata;
    const name = `${controller.name}.${String(property)}`;
    const where = `@Idempotent() on ${name}`;
    checkPlaces(options, [handler], where);
    const { consumer, messageId, kafkaPosition, ...own } = { ...ofClass, ...defined(options) };
    const defaults = isMessageHandler(handler) ? MESSAGE_DEFAULTS : {};
    const settings = operationSettings(this.module, own, where, defaults);
    const isRoute = entryPointOf(handler) === 'route';
    // the class's and the module's are for what is left
    const attempts = isRoute ? undefined : settings.policy.attempts;
    if (attempts !== undefined && settings.noAck === true && isRabbitEventHandler(handler)) {
      throw misconfigured(
        where,
        "option 'attempts' needs a message that comes again, and with noAck: true RabbitMQ forgets it when it is " +
          'sent. Write noAck: false here and in the options of the transport, or leave attempts out, here and in ' +
          "the module; or name the transport, if it is another: @EventPattern('…', Transport.NATS).",
      );
    }
    return {
      ...settings,
      policy: { ...settings.policy, attempts },
      name,
      answersByItself: answersByItself(controller, property),
      byClass: level === 'class',
      consumer: consumer ?? name,
      messageId,
      kafkaPosition: kafkaPosition ?? false,
    };
  }
}
