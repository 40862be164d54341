import { Inject, Injectable, Logger, RequestMethod } from '@nestjs/common';
import type { OperationPolicy } from './engine/operation.js';
import { RouteExplorer } from './http/route-explorer.js';
import type { RouteSettings } from './http/route-settings.js';
import { IDEMPOTENCY_SETTINGS } from './idempotency.constants.js';
import { operationSettings, type ModuleSettings } from './idempotency.settings.js';
import { deliveryOf, messageSource, messageTitle } from './messaging/message-report.js';
import { entryPointOf } from './messaging/handler-kind.js';
import { MethodExplorer } from './methods/method-explorer.js';
import type { AnyMethodOptions } from './methods/method-options.js';

/** Metadata key under which Nest keeps the HTTP method of a route. */
const ROUTE_METHOD = 'method';

/** Says once, when the application starts, what each decorated handler is really guaranteed. */
@Injectable()
export class StartupReport {
  private readonly logger = new Logger('Idempotency');

  constructor(
    @Inject(RouteExplorer) private readonly handlers: RouteExplorer,
    @Inject(MethodExplorer) private readonly methods: MethodExplorer,
    @Inject(IDEMPOTENCY_SETTINGS) private readonly module: ModuleSettings,
  ) {}

  print(): void {
    if (this.module.options.startupReport === false) {
      return;
    }
    const lines = new Set<string>();
    for (const [settings, handler] of this.handlers.settled()) {
      lines.add(handlerLine(settings, handler));
    }
    for (const [name, options] of this.methods.settled()) {
      lines.add(this.methodLine(name, options));
    }
    for (const line of lines) {
      this.logger.log(line);
    }
  }

  private methodLine(name: string, options: AnyMethodOptions): string {
    const { key: _key, scope, payload: _payload, ...own } = options;
    const { policy } = operationSettings(this.module, own, name);
    const whose = scope === undefined ? 'the same for everybody' : 'scope by a function';
    return `${name}: method, key by a function, ${whose}, ${guaranteeOf(policy)}`;
  }
}

function handlerLine(settings: RouteSettings, handler: object): string {
  const { name, policy, required } = settings;
  const parts =
    entryPointOf(handler) === 'route'
      ? [routeTitle(handler), `key from ${settings.header}`, scopeOf(settings)]
      : [messageTitle(handler), ...messageSource(settings, handler)];
  const guarantees = [
    guaranteeOf(policy),
    ...(required ? [] : ['without a key it runs unprotected']),
    ...deliveryOf(settings, handler),
  ];
  return `${name}: ${parts.join(', ')}, ${guarantees.join('; ')}`;
}

function routeTitle(handler: object): string {
  const method = Reflect.getMetadata(ROUTE_METHOD, handler) as RequestMethod;
  return `${RequestMethod[method]} route`;
}

function scopeOf({ scope }: RouteSettings): string {
  return scope === undefined ? 'scope request.user' : 'scope by a function';
}

function guaranteeOf({
  mode,
  onUnknownOutcome,
  onStoreFailure,
  attempts,
}: OperationPolicy): string {
  const promise =
    mode === 'transactional'
      ? 'transactional: effects in the database exactly once'
      : `lease: done once; ${afterDeath(onUnknownOutcome)}`;
  const limits = [
    ...(onStoreFailure === 'open' ? ['without the store it runs unprotected'] : []),
    ...(attempts === undefined ? [] : [`parked after ${attempts.max} failed attempts`]),
  ];
  return [promise, ...limits].join('; ');
}

function afterDeath(onUnknownOutcome: OperationPolicy['onUnknownOutcome']): string {
  switch (onUnknownOutcome) {
    case undefined:
      return 'if its process dies before the outcome is recorded it runs again, unless an effect had started';
    case 'rerun':
      return 'if its process dies before the outcome is recorded it runs again';
    case 'block':
      return 'if its process dies before the outcome is recorded it is blocked until resolved';
    default:
      return 'if its process dies before the outcome is recorded the resolver is asked';
  }
}
