import type { RouteSettings } from '../http/route-settings.js';
import {
  entryPointOf,
  isEventHandler,
  patternsOf,
  RABBIT_HANDLER,
  TRANSPORT,
} from './handler-kind.js';

/** Nest's `Transport` in words. */
const TRANSPORTS = ['TCP', 'Redis', 'NATS', 'MQTT', 'gRPC', 'RabbitMQ', 'Kafka'];

/** What calls the handler, in words. */
export function messageTitle(handler: object): string {
  switch (entryPointOf(handler)) {
    case 'message': {
      const kind = isEventHandler(handler) ? 'event' : 'request';
      const patterns = patternsOf(handler).map((pattern) => `'${pattern}'`);
      const transport = transportOf(handler);
      return `${kind} ${patterns.join(' and ')}${transport === undefined ? '' : ` on ${transport}`}`;
    }
    case 'rabbit': {
      const config = Reflect.getMetadata(RABBIT_HANDLER, handler) as { type?: unknown };
      return config.type === 'rpc' ? 'RabbitMQ RPC' : 'RabbitMQ subscriber';
    }
    case 'graphql':
      return 'GraphQL mutation';
    default:
      return 'handler that no known package calls';
  }
}

/** Where the id comes from, and under what it is remembered. */
export function messageSource(
  { header, messageId, kafkaPosition, consumer }: RouteSettings,
  handler: object,
): string[] {
  const isMutation = entryPointOf(handler) === 'graphql';
  const places = [
    `header ${header}`,
    ...(isMutation ? [] : ["the message's own id"]),
    ...(typeof messageId === 'string'
      ? [`${isMutation ? 'argument' : 'payload field'} ${messageId}`]
      : []),
    ...(kafkaPosition ? ['its position in Kafka'] : []),
  ];
  return [
    typeof messageId === 'function' ? 'id by a function' : `id from ${listed(places)}`,
    `consumer '${consumer}'`,
    ...(isMutation ? ['scope request.user'] : []),
  ];
}

/** Whether an event comes again when it was not processed; who asks, asks again. */
export function deliveryOf({ noAck }: RouteSettings, handler: object): string[] {
  if (entryPointOf(handler) !== 'message') {
    return [];
  }
  const transport = transportOf(handler);
  const isRabbit = transport === 'RabbitMQ';
  if (noAck === undefined && (isRabbit || transport === undefined)) {
    return ['noAck is not stated, and RabbitMQ messages are refused until it is'];
  }
  if (!isEventHandler(handler)) {
    return [];
  }
  if (isRabbit || transport === undefined) {
    const rabbit = noAck
      ? 'RabbitMQ loses an event with the process that handles it, or when it fails (noAck: true)'
      : 'RabbitMQ delivers an event again until its outcome is recorded';
    return isRabbit ? [rabbit] : [rabbit, 'what another transport does depends on it'];
  }
  return [
    transport === 'Kafka'
      ? 'Kafka delivers an event again until its outcome is recorded'
      : `${transport} does not deliver an event again`,
  ];
}

function transportOf(handler: object): string | undefined {
  const transport: unknown = Reflect.getMetadata(TRANSPORT, handler);
  return typeof transport === 'number' ? TRANSPORTS[transport] : undefined;
}

function listed(places: readonly string[]): string {
  return places.length === 1
    ? String(places[0])
    : `${places.slice(0, -1).join(', ')} or ${places.at(-1)}`;
}
