import { toMilliseconds, type Duration } from './engine/duration.js';
import { IdempotencyError } from './engine/errors.js';
import type { IdempotencyHooks } from './engine/events.js';
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
  IdempotencyModuleOptions,
  IdempotentOptions,
  ReplayCacheOptions,
} from './idempotency.options.js';

const FIELD_PATH = /^[^.]+(\.[^.]+)*$/;

const ROUTE_CHECKS: Record<keyof IdempotencyDefaults, Check> = {
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

const MODULE_CHECKS: Record<keyof IdempotencyModuleOptions, Check> = {
  ...ROUTE_CHECKS,
  namespace: (value) => (typeof value === 'string' ? undefined : 'Write a string.'),
  storeTimeout: timer,
  shutdownTimeout: timer,
  maskKey: aFunction,
  cleanup: (value) =>
    value === false || isRecord(value)
      ? undefined
      : "Write false, or an object such as { interval: '1m', batchSize: 1000 }.",
  replayCache: (value) =>
    typeof value === 'boolean' || isRecord(value)
      ? undefined
      : "Write true, false, or an object such as { maxEntries: 10_000, maxAge: '1m' }.",
  encryption: () => undefined, // its values must not be shown
  startupReport: boolean,
  hooks: (value) => (isRecord(value) ? undefined : 'Write an object with functions.'),
};

const REPLAY_CACHE_CHECKS: Record<keyof ReplayCacheOptions, Check> = {
  maxEntries: integer(1, 10_000_000),
  maxBytes: integer(1, Number.MAX_SAFE_INTEGER),
  maxAge: duration,
};

const HOOKS: readonly (keyof IdempotencyHooks)[] = [
  'onExecuted',
  'onReplayed',
  'onRejected',
  'onTakenOver',
  'onReleased',
  'onUncertain',
  'onParked',
  'onEscaped',
  'onExpired',
  'onUnprotected',
  'onRecordingFailed',
];

export const MODULE = 'IdempotencyModule';

export function checkModuleOptions(options: IdempotencyModuleOptions): void {
  if (!isRecord(options)) {
    throw misconfigured(MODULE, `the options are ${show(options)}. Write an object, or nothing.`);
  }
  for (const name of ['store', 'isGlobal']) {
    if (name in options) {
      throw misconfigured(
        MODULE,
        `option '${name}' came from a factory, which is too late. Write it beside the factory: ` +
          `forRootAsync({ ${name}: …, useFactory: … }).`,
      );
    }
  }
  checkEach(MODULE_CHECKS, options, MODULE);
  checkAttempts(options, MODULE);
  if (typeof options.cleanup === 'object') {
    checkEach(
      { interval: timer, batchSize: integer(1, 100_000) },
      options.cleanup,
      MODULE,
      'cleanup.',
    );
  }
  if (typeof options.replayCache === 'object') {
    checkEach(REPLAY_CACHE_CHECKS, options.replayCache, MODULE, 'replayCache.');
  }
  if (options.hooks !== undefined) {
    const checks = Object.fromEntries(HOOKS.map((name) => [name, aFunction]));
    checkEach(checks, options.hooks, MODULE, 'hooks.');
  }
  if (options.onConcurrent === 'reject' && options.waitTimeout !== undefined) {
    throw waitWithoutWaiting(MODULE, options.waitTimeout);
  }
}

/** `@Idempotent()` checks what was written as soon as it is decorated with. */
export function checkIdempotentOptions(options: unknown, where: string): void {
  if (!isRecord(options)) {
    throw misconfigured(where, `the options are ${show(options)}. Write an object, or nothing.`);
  }
  checkEach(HANDLER_CHECKS, options, where);
  checkAttempts(options, where);
}

function checkAttempts({ attempts }: Pick<IdempotencyDefaults, 'attempts'>, where: string): void {
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
}

const LARGEST_BATCH = 1_000;

/** Options of `IdempotencyService.executeBatch()` that `execute()` does not have. */
export function checkBatch(
  {
    items,
    key,
    payload,
    each,
    attempts,
  }: { items: unknown; key: unknown; payload?: unknown; each?: unknown; attempts?: unknown },
  work: unknown,
  where: string,
): void {
  if (!Array.isArray(items) || items.length > LARGEST_BATCH) {
    const given = Array.isArray(items) ? `${items.length} items` : show(items);
    throw misconfigured(
      where,
      `option 'items' is ${given}. Write an array of at most ${LARGEST_BATCH}.`,
    );
  }
  if (typeof key !== 'function') {
    throw misconfigured(
      where,
      `option 'key' is ${show(key)}. Write a function that answers an item's key.`,
    );
  }
  checkEach({ payload: aFunction, each: boolean }, { payload, each }, where);
  if (attempts !== undefined && each !== true) {
    throw misconfigured(
      where,
      "option 'attempts' would park every item for one of them that fails. Add each: true, or leave it out.",
    );
  }
  if (typeof work !== 'function') {
    throw misconfigured(where, 'there is nothing to run. Write a function as its second argument.');
  }
}

/** What only shows when the route's options meet the module's. */
export function checkRouteOptions(
  route: IdempotencyDefaults,
  merged: {
    mode: string;
    required: boolean;
    onStoreFailure: string;
    onConcurrent: string;
    lease: Duration;
    maxDuration: Duration;
  },
  storeTimeout: Duration | undefined,
  where: string,
): void {
  checkIdempotentOptions(route, where);
  if (route.waitTimeout !== undefined && merged.onConcurrent !== 'wait') {
    throw waitWithoutWaiting(where, route.waitTimeout);
  }
  if (merged.mode === 'transactional' && merged.onStoreFailure === 'open') {
    throw misconfigured(
      where,
      `option 'onStoreFailure' is 'open', but in mode: 'transactional' there is nothing to run without the ` +
        `store. Leave it out, or write mode: 'lease'.`,
    );
  }
  if (merged.mode === 'transactional' && !merged.required) {
    throw misconfigured(
      where,
      `option 'required' is false, but a request without a key would run without a transaction. Leave it ` +
        `out, or write mode: 'lease'.`,
    );
  }
  if (route.strict === true && merged.mode !== 'transactional') {
    throw misconfigured(
      where,
      `option 'strict' is true, but there is no transaction to leave. Add mode: 'transactional', or leave it out.`,
    );
  }
  const leaseMs = toMilliseconds(merged.lease) as number;
  if ((toMilliseconds(merged.maxDuration) as number) < leaseMs) {
    throw misconfigured(
      where,
      `option 'maxDuration' (${show(merged.maxDuration)}) is shorter than 'lease' ` +
        `(${show(merged.lease)}). Write a longer maxDuration or a shorter lease.`,
    );
  }
  if (storeTimeout !== undefined && (toMilliseconds(storeTimeout) as number) > leaseMs) {
    throw misconfigured(
      where,
      `option 'lease' (${show(merged.lease)}) is shorter than 'storeTimeout' (${show(storeTimeout)}): ` +
        'a claim could be over before the store has answered. Write a longer lease or a shorter storeTimeout.',
    );
  }
}

function waitWithoutWaiting(where: string, value: unknown): IdempotencyError {
  return misconfigured(
    where,
    `option 'waitTimeout' is ${show(value)}, but nothing waits. Add onConcurrent: 'wait', or leave it out.`,
  );
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` that names the option, its value and what to write instead. */
export function checkEach(
  checks: Readonly<Record<string, Check>>,
  options: object,
  where: string,
  prefix = '',
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) {
      continue;
    }
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) {
      throw misconfigured(
        where,
        `there is no option '${prefix}${name}' (given: ${show(value)}). ` +
          `Write one of: ${Object.keys(checks).join(', ')}.`,
      );
    }
    const instead = check(value);
    if (instead !== undefined) {
      throw misconfigured(where, `option '${prefix}${name}' is ${show(value)}. ${instead}`);
    }
  }
}

export function misconfigured(where: string, sentence: string): IdempotencyError {
  return new IdempotencyError('IDEMPOTENCY_MISCONFIGURED', `${where}: ${sentence}`);
}
