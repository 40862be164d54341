import { inspect } from 'node:util';
import { toMilliseconds } from './engine/duration.js';

/** Answers what to write instead when a value will not do. */
export type Check = (value: unknown) => string | undefined;

const LONGEST_TIMER = '24d';
const HTTP_TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export const duration: Check = (value) =>
  toMilliseconds(value) === undefined
    ? "Write milliseconds as a number, or text such as '500ms', '30s', '15m', '24h' or '7d'."
    : undefined;
export const timer: Check = (value) =>
  duration(value) ??
  ((toMilliseconds(value) as number) > (toMilliseconds(LONGEST_TIMER) as number)
    ? `Write at most '${LONGEST_TIMER}'.`
    : undefined);
export const oneOf =
  (...allowed: string[]): Check =>
  (value) =>
    allowed.includes(value as string)
      ? undefined
      : `Write ${allowed.map((name) => `'${name}'`).join(' or ')}.`;
export const boolean: Check = (value) =>
  typeof value === 'boolean' ? undefined : 'Write true or false.';
export const aFunction: Check = (value) =>
  typeof value === 'function' ? undefined : 'Write a function.';
export const integer =
  (from: number, to: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= from && (value as number) <= to
      ? undefined
      : `Write a whole number from ${from} to ${to}.`;

export function isPartList(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every(
      (part) =>
        ['method', 'path', 'query', 'body'].includes(part as string) ||
        (typeof part === 'string' &&
          part.startsWith('header:') &&
          isHeaderName(part.slice('header:'.length))),
    )
  );
}

export function isHeaderName(value: unknown): boolean {
  return typeof value === 'string' && HTTP_TOKEN.test(value);
}

export function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function show(value: unknown): string {
  const text = inspect(value, { depth: 0, breakLength: Infinity });
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
