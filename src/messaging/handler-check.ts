import { misconfigured } from '../options-check.js';
import { entryPointOf, GRAPHQL_RESOLVER, isRoute, PATTERN } from './handler-kind.js';

/** Metadata keys of `@nestjs/websockets`, and what `@nestjs/microservices` says of gRPC. */
const SOCKET_MESSAGE = 'websockets:message_mapping';
const GATEWAY = 'websockets:is_gateway';
const GRPC_STREAMS = ['rx_stream', 'pt_stream'];

/**
 * What `@Idempotent()` cannot hold its promise on, whatever the options.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`
 */
export function checkHandler(name: string, handler: object): void {
  const where = `@Idempotent() on ${name}`;
  if (Reflect.hasMetadata(SOCKET_MESSAGE, handler)) {
    throw gatewayRefused(where);
  }
  if (entryPointOf(handler) === 'graphql' && !isMutation(handler)) {
    throw misconfigured(
      where,
      'it is no mutation, and what only reads may be asked any number of times. Leave it out, or make it a ' +
        '@Mutation().',
    );
  }
  if (isRoute(handler) && entryPointOf(handler) !== 'route') {
    throw misconfigured(
      where,
      'it is a route and a message handler, and what comes both ways would be done twice. Write two handlers, and ' +
        'let both call a method of a provider with @Idempotent({ key }).',
    );
  }
  if (isGrpcStream(handler)) {
    throw misconfigured(
      where,
      'its client streams many messages in one call, which have many ids. Leave it out, and write ' +
        'IdempotencyService.execute() for each message inside of the handler.',
    );
  }
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a gateway, none of whose handlers would be protected. */
export function checkClass(type: { readonly name: string }): void {
  if (Reflect.hasMetadata(GATEWAY, type)) {
    throw gatewayRefused(`@Idempotent() on ${type.name}`);
  }
}

export function isMutation(handler: object): boolean {
  return Reflect.getMetadata(GRAPHQL_RESOLVER, handler) === 'Mutation';
}

function isGrpcStream(handler: object): boolean {
  const patterns = Reflect.getMetadata(PATTERN, handler) as unknown;
  return (Array.isArray(patterns) ? patterns : [patterns]).some((pattern: unknown) => {
    const { streaming } = (pattern ?? {}) as { streaming?: unknown };
    return GRPC_STREAMS.includes(streaming as string);
  });
}

function gatewayRefused(where: string): Error {
  return misconfigured(
    where,
    'it is a WebSocket gateway, whose messages have no id. Leave it out, and write ' +
      'IdempotencyService.execute() with an id of the payload inside of the handler.',
  );
}
