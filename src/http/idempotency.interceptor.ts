import {
  Inject,
  Injectable,
  Optional,
  ServiceUnavailableException,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { from, Observable } from 'rxjs';
import { calls, newCall } from '../call-context.js';
import { MessageHandling } from '../messaging/message-handling.js';
import { misconfigured } from '../options-check.js';
import { isHeld } from './held-methods.js';
import { HeldResponse } from './held-response.js';
import { httpExchange } from './http-exchange.js';
import { IdempotentRequest } from './idempotent-request.js';
import { RequestOperations } from './request-operations.js';
import { RouteSettingsRegistry } from './route-settings.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Nest's transports, `@golevelup/nestjs-rabbitmq` and GraphQL. */
const MESSAGE_CONTEXTS = new Set(['rpc', 'rmq', 'graphql']);

/** Bound by `@Idempotent()` itself. Bound twice to one route, it acts once. */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  private readonly operations: RequestOperations;
  readonly routes: RouteSettingsRegistry;
  private readonly messages: MessageHandling;

  constructor(
    @Optional() @Inject(RequestOperations) operations: RequestOperations | undefined,
    @Optional() @Inject(RouteSettingsRegistry) routes: RouteSettingsRegistry | undefined,
    @Optional() @Inject(MessageHandling) messages: MessageHandling | undefined,
  ) {
    if (operations === undefined || routes === undefined || messages === undefined) {
      throw misconfigured(
        '@Idempotent()',
        'there is no IdempotencyModule here. Import IdempotencyModule.forRoot() in the root module ' +
          '(or, with isGlobal: false, in the module of this controller).',
      );
    }
    this.operations = operations;
    this.routes = routes;
    this.messages = messages;
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const settings = this.routes.of(context.getClass(), context.getHandler() as never);
    if (settings === undefined) {
      return next.handle();
    }
    const type = context.getType<string>();
    if (MESSAGE_CONTEXTS.has(type)) {
      return from(this.messages.handle(context, next, settings));
    }
    if (type !== 'http') {
      throw misconfigured(
        settings.name,
        `@Idempotent() does not protect '${type}' handlers. Use it on HTTP routes and message handlers, ` +
          'and IdempotencyService.execute() elsewhere.',
      );
    }
    const exchange = httpExchange(context);
    if (isHeld(exchange.rawResponse)) {
      return next.handle();
    }
    if (exchange.rawResponse.headersSent || exchange.rawResponse.writableEnded) {
      // a middleware lost its patience: nobody would get the answer, so nothing is run
      throw new ServiceUnavailableException('The request was answered before its handler began.');
    }
    if (settings.byClass && SAFE_METHODS.has(exchange.request.method)) {
      return calls.run(newCall(), () => next.handle());
    }
    const waitsWhenFull = settings.policy.mode === 'lease';
    const held = new HeldResponse(exchange.rawResponse, settings.maxResultBytes, waitsWhenFull);
    return new Observable((subscriber) => {
      const request = new IdempotentRequest(
        this.operations,
        { context, exchange, settings, held, next },
        subscriber,
      );
      void request.answer();
      return () => request.abandon();
    });
  }
}
