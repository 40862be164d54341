import {
  aFunction,
  boolean,
  duration,
  integer,
  isHeaderName,
  isPartList,
  isRecord,
  oneOf,
  show,
  timer,
  type Check,
} from './option-values.js';
import { isNeverReplayed } from './http/replayed-headers.js';
import type {
  AttemptsOptions,
  IdempotencyDefaults,
  IdempotentOptions,
} from './idempotency.options.js';
import { checkEach, misconfigured } from './options-check.js';

const FIELD_PATH = /^[^.]+(\.[^.]+)*$/;

/** Of what a handler and the module both take. */
export const ROUTE_CHECKS: Record<keyof IdempotencyDefaults, Check> = {
  mode: oneOf('lease', 'transactional'),
  strict: boolean,
  ttl: duration,
  lease: duration,
  maxDuration: duration,
  onConcurrent: oneOf('reject', 'wait'),
  waitTimeout: timer,
  errors: (value) =>
    typeof value === 'function'
      ? undefined
      : oneOf(
          'release',
          'store-client-errors',
          'store-all',
        )(value)?.replace(
          '.',
          ", or a function that answers 'store', 'release' or 'uncertain' for an error.",
        ),
  expiredKeys: oneOf('refuse', 'rerun'),
  onStoreFailure: oneOf('closed', 'open'),
  onUnknownOutcome: (value) =>
    typeof value === 'function'
      ? undefined
      : oneOf(
          'rerun',
          'block',
        )(value)?.replace('.', ', or a function that finds out what happened.'),
  maxResultBytes: integer(1, 1_073_741_824),
  attempts: (value) =>
    isRecord(value) ? undefined : "Write an object such as { max: 5, backoff: '10s' }.",
  header: (value) =>
    isHeaderName(value)
      ? undefined
      : "Write the name of a request header, for example 'Idempotency-Key'.",
  required: boolean,
  strictKey: boolean,
  keyPattern: (value) => {
    if (!(value instanceof RegExp)) {
      return 'Write a regular expression, for example /^[0-9a-f-]{36}$/.';
    }
    return value.global || value.sticky
      ? 'Leave out the flags g and y: they make every second match fail.'
      : undefined;
  },
  maxKeyLength: integer(1, 4_000),
  maxKeysPerScope: integer(1, 1_000_000),
  scope: aFunction,
  fingerprint: (value) =>
    typeof value === 'function' || isPartList(value)
      ? undefined
      : "Write a list of 'method', 'path', 'query', 'body' or 'header:<name>' with at least one " +
        'entry, or a function. Without any part every request would look like a retry.',
  replayHeaders: (value) => {
    if (!Array.isArray(value) || !value.every(isHeaderName)) {
      return "Write a list of response header names, for example ['X-Order-Id'].";
    }
    const never = (value as string[]).find(isNeverReplayed);
    return never === undefined
      ? undefined
      : `Leave out '${never}': it belongs to one connection, caller or moment and is never replayed.`;
  },
  redact: (value) =>
    Array.isArray(value) && value.every((path) => typeof path === 'string' && FIELD_PATH.test(path))
      ? undefined
      : "Write a list of paths such as 'card.number' or 'items.*.token'.",
  authorizeReplay: aFunction,
  noAck: boolean,
};

const ATTEMPTS_CHECKS: Record<keyof AttemptsOptions, Check> = {
  max: integer(1, 1_000_000),
  backoff: (value) =>
    typeof value === 'function'
      ? undefined
      : duration(value)?.replace(/\.$/, ', or a function of the number of the attempt.'),
  onExhausted: oneOf('park', 'dead-letter'),
};

const HANDLER_CHECKS: Record<keyof IdempotentOptions, Check> = {
  ...ROUTE_CHECKS,
  consumer: (value) =>
    typeof value === 'string' && value !== ''
      ? undefined
      : "Write a name that stays, for example 'billing.order-placed'.",
  messageId: (value) =>
    typeof value === 'function' || (typeof value === 'string' && value !== '')
      ? undefined
      : "Write the path of a field of the payload, for example 'order.id', or a function of the message.",
  kafkaPosition: boolean,
};

/** `@Idempotent()` checks what was written as soon as it is decorated with. */
export function checkIdempotentOptions(options: unknown, where: string): void {
  if (!isRecord(options)) {
    throw misconfigured(where, `the options are ${show(options)}. Write an object, or nothing.`);
  }
  checkEach(HANDLER_CHECKS, options, where);
  checkAttempts(options, where);
}

export function checkAttempts(
  { attempts }: Pick<IdempotencyDefaults, 'attempts'>,
  where: string,
): void {
  if (attempts === undefined) {
    return;
  }
  checkEach(ATTEMPTS_CHECKS, attempts, where, 'attempts.');
  if (attempts.max === undefined) {
    throw misconfigured(
      where,
      "option 'attempts' does not say how many. Write for example { max: 5 }.",
    );
  }
}

const EXECUTE_OPTIONS = [
  'mode',
  'strict',
  'ttl',
  'lease',
  'maxDuration',
  'onConcurrent',
  'waitTimeout',
  'errors',
  'expiredKeys',
  'onStoreFailure',
  'onUnknownOutcome',
  'maxResultBytes',
  'attempts',
] as const;

/** Options of `IdempotencyService.execute()` besides those that name the operation. */
export function checkExecuteOptions(options: object, where: string): void {
  const checks = EXECUTE_OPTIONS.map((name) => [name, ROUTE_CHECKS[name]] as const);
  checkEach(Object.fromEntries(checks), options, where);
  checkAttempts(options, where);
  const { backoff, onExhausted } = (options as IdempotencyDefaults).attempts ?? {};
  for (const [name, value] of Object.entries({ backoff, onExhausted })) {
    if (value !== undefined) {
      throw misconfigured(
        where,
        `option 'attempts.${name}' is for the delivery of messages, and here nothing is delivered: who calls ` +
          'decides when to try again. Leave it out here, and write { max }.',
      );
    }
  }
}
