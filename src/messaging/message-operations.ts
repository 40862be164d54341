import { Inject, Injectable, type ExecutionContext } from '@nestjs/common';
import { isObservable } from 'rxjs';
import { recordId, type Identity } from '../engine/identity.js';
import type { Operation } from '../engine/operation.js';
import { credentialsDigest, scopeOf } from '../http/request-scope.js';
import type { RouteSettings } from '../http/route-settings.js';
import { IDEMPOTENCY_SETTINGS } from '../idempotency.constants.js';
import type { HttpRequest } from '../idempotency.options.js';
import type { ModuleSettings } from '../idempotency.settings.js';
import { misconfigured } from '../options-check.js';
import { payloadFingerprint } from '../payload-fingerprint.js';
import { encodeValueVerdict } from '../value-codec.js';
import type { IncomingMessage } from './incoming-message.js';
import { messageKey } from './message-key.js';
import { graphqlRequest } from './read-message.js';

/** Translates messages into operations of the engine: one for each consumer and message id. */
@Injectable()
export class MessageOperations {
  constructor(@Inject(IDEMPOTENCY_SETTINGS) private readonly module: ModuleSettings) {}

  /**
   * `undefined` for a message that has no id and needs none.
   *
   * @throws IdempotencyError `…_KEY_MISSING`, `…_KEY_INVALID`, `…_MISCONFIGURED`
   */
  async operation(
    message: IncomingMessage,
    context: ExecutionContext,
    settings: RouteSettings,
  ): Promise<Operation | undefined> {
    const { name, maxResultBytes, policy } = settings;
    const { transport, payload } = message;
    if (
      isObservable(payload) ||
      (transport === 'golevelup' && Array.isArray(context.getArgs()[1]))
    ) {
      throw misconfigured(
        `@Idempotent() on ${name}`,
        'it gets many messages in one call, which have many ids. Leave it out, and write ' +
          'IdempotencyService.executeBatch() inside of the handler.',
      );
    }
    if (transport === 'grpc' && answersWithStream(context)) {
      throw misconfigured(
        `@Idempotent() on ${name}`,
        'its answer is a stream of many messages, which cannot be replayed. Leave it out, and write ' +
          'IdempotencyService.execute() around each effect inside of the handler.',
      );
    }
    const key = messageKey(message, context, settings);
    if (key === undefined) {
      return undefined;
    }
    const request = transport === 'graphql' ? httpRequestOf(context) : undefined;
    const scope = request && (await scopeOf(request, context, settings));
    // a caller of whom nobody says who it is must bring the same credentials
    const credentials = request && scope === undefined ? credentialsDigest(request) : undefined;
    const identity: Identity = {
      namespace: this.module.namespace,
      scope: scope ?? '',
      operation: consumerOf(message, context, settings),
      key,
    };
    return {
      identity,
      id: recordId(identity),
      fingerprint: payloadFingerprint(
        identity,
        credentials === undefined ? payload : { payload, credentials },
      ),
      handler: name,
      policy,
      encodeVerdict: (verdict) => encodeValueVerdict(verdict, maxResultBytes, name),
    };
  }
}

/** Neither Nest nor the call itself says so, but what grpc-js handles it with. */
function answersWithStream(context: ExecutionContext): boolean {
  const call =
    context.getArgs<
      [unknown, unknown, { call?: { handler?: { type?: unknown } } } | undefined]
    >()[2];
  return call?.call?.handler?.type === 'serverStream';
}

/** One mutation may stand many times in a document that has one key: under other names, or in other fields. */
function consumerOf(
  { transport }: IncomingMessage,
  context: ExecutionContext,
  { consumer }: RouteSettings,
): string {
  if (transport !== 'graphql') {
    return consumer;
  }
  const { path, fieldName } =
    context.getArgs<[unknown, unknown, unknown, { path: GraphqlPath; fieldName: string }]>()[3];
  const place = placeOf(path);
  return place === fieldName ? consumer : `${consumer} as ${place}`;
}

/** Where in the answer: names, or the numbers of a list's entries, from the top. */
interface GraphqlPath {
  readonly prev: GraphqlPath | undefined;
  readonly key: string | number;
}

function placeOf({ prev, key }: GraphqlPath): string {
  return prev === undefined ? String(key) : `${placeOf(prev)}.${key}`;
}

function httpRequestOf(context: ExecutionContext): HttpRequest {
  const request = graphqlRequest(context.getArgs<[unknown, unknown, object | undefined]>()[2]);
  return (request ?? { headers: {} }) as HttpRequest;
}
