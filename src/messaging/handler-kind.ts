import { isRegExp } from 'node:util/types';

/** Metadata keys by which the packages that call handlers know them. */
export const PATTERN = 'microservices:pattern';
/** Whether Nest hands it an event, and by which of its transports. */
export const HANDLER_TYPE = 'microservices:handler_type';
const EVENT = 2;
export const TRANSPORT = 'microservices:transport';
export const RABBITMQ = 5;
export const KAFKA = 6;
export const RABBIT_HANDLER = 'RABBIT_HANDLER';
export const GRAPHQL_RESOLVER = 'graphql:resolver_type';
const ROUTE_PATH = 'path';

export type EntryPoint = 'route' | 'message' | 'rabbit' | 'graphql';

/** By whom the handler is called; `undefined` when no decorator says so. */
export function entryPointOf(handler: object): EntryPoint | undefined {
  if (Reflect.hasMetadata(PATTERN, handler)) return 'message';
  if (Reflect.hasMetadata(RABBIT_HANDLER, handler)) return 'rabbit';
  if (Reflect.hasMetadata(GRAPHQL_RESOLVER, handler)) return 'graphql';
  return isRoute(handler) ? 'route' : undefined;
}

export function isRoute(handler: object): boolean {
  return Reflect.hasMetadata(ROUTE_PATH, handler);
}

export function isMessageHandler(handler: object): boolean {
  const entryPoint = entryPointOf(handler);
  return entryPoint === 'message' || entryPoint === 'rabbit';
}

/** Whether `@EventPattern()` made it a handler: every one of them gets each message of its pattern. */
export function isEventHandler(handler: object): boolean {
  return Reflect.getMetadata(HANDLER_TYPE, handler) === EVENT;
}

/** Whether it may get events of RabbitMQ by Nest's transport. */
export function isRabbitEventHandler(handler: object): boolean {
  const transport: unknown = Reflect.getMetadata(TRANSPORT, handler);
  return isEventHandler(handler) && (transport === undefined || transport === RABBITMQ);
}

/** The patterns of a message handler, as contexts tell them: objects in their canonical text. */
export function patternsOf(handler: object): string[] {
  const patterns = Reflect.getMetadata(PATTERN, handler) as unknown;
  return (Array.isArray(patterns) ? patterns : [patterns]).map(routeOf);
}

function routeOf(pattern: unknown): string {
  if (isRegExp(pattern)) {
    return String(pattern);
  }
  return pattern !== null && typeof pattern === 'object' ? quoted(pattern) : String(pattern);
}

function quoted(value: unknown): string {
  if (value === null || typeof value !== 'object') {
    return typeof value === 'string' ? `"${escaped(value)}"` : String(value);
  }
  const names = Object.keys(value).sort((a, b) => a.localeCompare(b));
  const fields = names.map(
    (name) => `"${escaped(name)}":${quoted((value as Record<string, unknown>)[name])}`,
  );
  return `{${fields.join(',')}}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
}
