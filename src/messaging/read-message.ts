import type { ExecutionContext } from '@nestjs/common';
import { HANDLER_TYPE } from './handler-kind.js';
import type { IncomingMessage, MessageTransport } from './incoming-message.js';

/** The handler type of `@MessagePattern()`. */
const MESSAGE_PATTERN = 1;

/** Without one of these headers Nest takes a message of Kafka for an event, whatever its handler is. */
const KAFKA_REPLY = ['kafka_correlationid', 'kafka_replytopic'];

/** What the context objects of Nest's transports have, whichever it is. */
export interface TransportContext {
  getArgs?(): unknown[];
  getMessage?(): unknown;
  getChannelRef?(): unknown;
  getPattern?(): unknown;
  getPartition?(): number;
  getTopic?(): string;
  getHeartbeat?(): () => Promise<void>;
  getSubject?(): string;
  getHeaders?(): unknown;
  getPacket?(): unknown;
  getChannel?(): string;
  getMetadata?(): unknown;
  getSocketRef?(): unknown;
  /** gRPC's `Metadata`. */
  getMap?(): Record<string, unknown>;
}

interface AmqpMessage {
  readonly content?: unknown;
  readonly properties?: {
    readonly messageId?: unknown;
    readonly replyTo?: unknown;
    readonly correlationId?: unknown;
    readonly headers?: object;
  };
}

/** The message of a context, recognised by what the context can do: packages may be loaded twice. */
export function readMessage(context: ExecutionContext): IncomingMessage {
  switch (context.getType<string>()) {
    case 'rmq':
      return readGolevelup(context);
    case 'graphql':
      return readGraphql(context);
    default:
      return readRpc(context);
  }
}

function readGolevelup(context: ExecutionContext): IncomingMessage {
  const [payload, message] = context.getArgs<[unknown, AmqpMessage]>();
  return { ...amqp(message), transport: 'golevelup', payload };
}

function readGraphql(context: ExecutionContext): IncomingMessage {
  const [, payload, shared] = context.getArgs<[unknown, unknown, GraphqlContext | undefined]>();
  const headers = headerMap(graphqlRequest(shared)?.headers);
  return { transport: 'graphql', isRequest: true, payload, headers };
}

interface GraphqlContext {
  readonly req?: GraphqlRequest;
  readonly request?: GraphqlRequest;
  readonly reply?: { readonly request?: GraphqlRequest };
}

interface GraphqlRequest {
  readonly headers?: object;
  readonly user?: unknown;
}

/** Where Apollo (`req`), Yoga (`request`) and Mercurius (`reply.request`) keep the HTTP request. */
export function graphqlRequest(context: GraphqlContext | undefined): GraphqlRequest | undefined {
  return context?.req ?? context?.request ?? context?.reply?.request;
}

function readRpc(context: ExecutionContext): IncomingMessage {
  const payload: unknown = context.switchToRpc().getData();
  const transport = transportOf(context);
  const isRequest = Reflect.getMetadata(HANDLER_TYPE, context.getHandler()) === MESSAGE_PATTERN;
  const rpc = context.switchToRpc().getContext<Required<TransportContext>>();
  const message = { transport, isRequest, payload, headers: new Map<string, unknown>() };
  switch (transport) {
    case 'rabbitmq': {
      const delivery = rpc.getMessage() as AmqpMessage;
      return { ...message, ...amqp(delivery), isRequest: isAnswered(delivery) };
    }
    case 'kafka': {
      const { headers: own, offset } = rpc.getMessage() as { headers?: object; offset?: unknown };
      const headers = headerMap(own);
      return {
        ...message,
        isRequest: isRequest && KAFKA_REPLY.every((name) => Boolean(headers.get(name))),
        headers,
        position: `${rpc.getTopic()}:${rpc.getPartition()}:${String(offset)}`,
      };
    }
    case 'nats': {
      const headers = natsHeaders(rpc.getHeaders());
      return { ...message, headers, id: headers.get('nats-msg-id') };
    }
    case 'mqtt': {
      const packet = rpc.getPacket() as { properties?: { userProperties?: object } };
      return { ...message, headers: headerMap(packet?.properties?.userProperties) };
    }
    case 'grpc':
      return { ...message, isRequest: true, headers: headerMap(rpc.getMap()) };
    default:
      return { ...message, headers: headerMap(rpc?.getMetadata?.()) };
  }
}

export function transportOf(context: ExecutionContext): MessageTransport {
  const type = context.getType<string>();
  if (type === 'rmq') {
    return 'golevelup';
  }
  if (type === 'graphql') {
    return 'graphql';
  }
  const rpc: TransportContext = context.switchToRpc().getContext() ?? {};
  if (rpc.getChannelRef !== undefined) return 'rabbitmq';
  if (rpc.getPartition !== undefined) return 'kafka';
  if (rpc.getSubject !== undefined) return 'nats';
  if (rpc.getPacket !== undefined) return 'mqtt';
  if (rpc.getSocketRef !== undefined) return 'tcp';
  if (rpc.getChannel !== undefined) return 'redis';
  return rpc.getMap !== undefined ? 'grpc' : 'other';
}

function amqp({ properties = {} }: AmqpMessage): Omit<IncomingMessage, 'transport' | 'payload'> {
  const { correlationId, headers, messageId } = properties;
  return {
    isRequest: hasReplyTo(properties) && correlationId !== undefined,
    headers: headerMap(headers),
    id: messageId,
  };
}

/** Nest answers what has an id in its packet: `send()` may reach an event handler, and `emit()` the other kind. */
function isAnswered({ content, properties = {} }: AmqpMessage): boolean {
  if (!hasReplyTo(properties)) {
    return false;
  }
  try {
    return (Object(JSON.parse(String(content))) as { id?: unknown }).id !== undefined;
  } catch {
    // in a format of the application's own
    return properties.correlationId !== undefined;
  }
}

function hasReplyTo({ replyTo }: NonNullable<AmqpMessage['properties']>): boolean {
  return typeof replyTo === 'string' && replyTo !== '';
}

function headerMap(headers: unknown): Map<string, unknown> {
  const entries = headers !== null && typeof headers === 'object' ? Object.entries(headers) : [];
  return new Map(entries.map(([name, value]) => [name.toLowerCase(), value]));
}

/** `MsgHdrs` of the NATS client: a list of values for each name. */
function natsHeaders(headers: unknown): Map<string, unknown> {
  const { keys, get } = (headers ?? {}) as {
    keys?: () => string[];
    get?: (name: string) => string;
  };
  if (typeof keys !== 'function' || typeof get !== 'function') {
    return headerMap(headers);
  }
  const names = keys.call(headers);
  return new Map(names.map((name) => [name.toLowerCase(), get.call(headers, name)]));
}
