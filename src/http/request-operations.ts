import { Inject, Injectable, Logger, type ExecutionContext } from '@nestjs/common';
import { IdempotencyEngine } from '../engine/engine.js';
import { recordId, type Identity } from '../engine/identity.js';
import type { Operation } from '../engine/operation.js';
import { IDEMPOTENCY_SETTINGS } from '../idempotency.constants.js';
import type { HttpRequest } from '../idempotency.options.js';
import type { ModuleSettings } from '../idempotency.settings.js';
import type { HttpExchange } from './http-exchange.js';
import { RefusalReport } from '../refusal-report.js';
import { requestFingerprint } from './request-fingerprint.js';
import { requestKey } from './request-key.js';
import { credentialsDigest, scopeOf } from './request-scope.js';
import { encodeResponseVerdict } from './response-verdict.js';
import type { RouteSettings } from './route-settings.js';

/** The engine's name for everything that came with an `Idempotency-Key` header. */
export const HTTP_OPERATION = 'http';

/** Translates requests into operations of the engine. */
@Injectable()
export class RequestOperations {
  private readonly logger = new Logger('Idempotency');
  private warnedOfUnknownPrincipal = false;

  constructor(
    readonly engine: IdempotencyEngine,
    readonly refusals: RefusalReport,
    @Inject(IDEMPOTENCY_SETTINGS) private readonly module: ModuleSettings,
  ) {}

  /**
   * The operation that a request asks for; `undefined` when it has no key and needs none.
   *
   * @throws IdempotencyError `…_KEY_MISSING`, `…_KEY_INVALID`, `…_MISCONFIGURED`
   */
  async operation(
    exchange: HttpExchange,
    context: ExecutionContext,
    settings: RouteSettings,
  ): Promise<Operation | undefined> {
    const { request, rawRequest } = exchange;
    const key = requestKey(rawRequest, settings.header, settings.required, settings.keyRules);
    if (key === undefined) {
      return undefined;
    }
    const scope = await scopeOf(request, context, settings);
    const credentials = scope === undefined ? credentialsDigest(request) : undefined;
    if (credentials !== undefined) {
      this.warnOfUnknownPrincipal(settings.name);
    }
    const identity: Identity = {
      namespace: this.module.namespace,
      scope: scope ?? '',
      operation: HTTP_OPERATION,
      key,
    };
    return {
      identity,
      id: recordId(identity),
      fingerprint: await requestFingerprint(exchange, context, identity, settings, credentials),
      handler: settings.name,
      policy: settings.policy,
      // nobody knows whose keys those without a scope are
      ...(scope !== undefined &&
        settings.maxKeysPerScope !== undefined && { maxKeysPerScope: settings.maxKeysPerScope }),
      ...mayReplay(settings, request, context),
      encodeVerdict: (verdict) =>
        encodeResponseVerdict(verdict, settings.maxResultBytes, settings.name),
    };
  }

  private warnOfUnknownPrincipal(name: string): void {
    if (!this.warnedOfUnknownPrincipal) {
      this.warnedOfUnknownPrincipal = true;
      this.logger.warn(
        `${name}: the request has credentials, but no request.user.id, .sub or .userId says whose they ` +
          'are. Its key is bound to these very credentials, so that a retry after a token refresh gets ' +
          '422. Set `scope` to a function that answers a stable id of the caller.',
      );
    }
  }
}

function mayReplay(
  { authorizeReplay }: RouteSettings,
  request: HttpRequest,
  context: ExecutionContext,
): Pick<Operation, 'mayReplay'> {
  // only a clear yes is one
  return authorizeReplay === undefined
    ? {}
    : { mayReplay: async () => (await authorizeReplay(request, context)) === true };
}
