import { toMilliseconds, type Duration } from '../engine/duration.js';
import {
  boolean,
  aFunction,
  integer,
  isRecord,
  show,
  timer,
  type Check,
} from '../option-values.js';
import { checkEach, misconfigured } from '../options-check.js';
import type { OutboxSink, Sink } from './message.js';
import type { OutboxHooks, OutboxModuleOptions } from './outbox.options.js';

const WHERE = 'OutboxModule';

/** The options with every default filled in and every duration in milliseconds. */
export interface OutboxSettings {
  readonly options: OutboxModuleOptions;
  readonly sinks: ReadonlyMap<string, Sink>;
  readonly relay: boolean;
  readonly pollIntervalMs: number;
  readonly batchSize: number;
  readonly leaseMs: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly keepSentMs: number | undefined;
  readonly shutdownTimeoutMs: number;
  readonly tell: Tell;
}

/** Calls hooks so that none of them can disturb a relay. */
export type Tell = <Name extends keyof OutboxHooks>(
  name: Name,
  event: Parameters<NonNullable<OutboxHooks[Name]>>[0],
) => void;

const name: Check = (value) =>
  typeof value === 'string' && value !== '' ? undefined : 'Write a name.';

const CHECKS: Record<keyof OutboxModuleOptions, Check> = {
  sinks: (value) =>
    isRecord(value) && Object.keys(value).length > 0
      ? undefined
      : 'Write an object with at least one, for example { default: clientProxySink(CLIENT) }.',
  table: name,
  schema: name,
  dataSource: (value) =>
    isRecord(value) ? undefined : name(value)?.replace('.', ' or a DataSource.'),
  relay: boolean,
  pollInterval: timer,
  batchSize: integer(1, 1_000),
  lease: timer,
  attempts: (value) =>
    isRecord(value) ? undefined : "Write an object such as { max: 10, backoff: '1s' }.",
  keepSent: timer,
  shutdownTimeout: timer,
  hooks: (value) => (isRecord(value) ? undefined : 'Write an object with functions.'),
};

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` that names the option, its value and what to write instead. */
export function outboxSettings(options: OutboxModuleOptions): OutboxSettings {
  if (!isRecord(options)) {
    throw misconfigured(
      WHERE,
      `the options are ${show(options)}. Write OutboxModule.forRoot({ sinks: { … } }).`,
    );
  }
  checkEach(CHECKS, { ...options, sinks: options.sinks ?? null }, WHERE);
  checkEach({ max: integer(1, 1_000), backoff: timer }, options.attempts ?? {}, WHERE, 'attempts.');
  const hooks = options.hooks ?? {};
  const hookChecks = { onSent: aFunction, onFailed: aFunction, onParked: aFunction };
  checkEach(hookChecks, hooks, WHERE, 'hooks.');
  return {
    options,
    sinks: new Map(Object.entries(options.sinks).map(([key, sink]) => [key, sinkOf(key, sink)])),
    relay: options.relay ?? true,
    pollIntervalMs: milliseconds(options.pollInterval ?? '1s'),
    batchSize: options.batchSize ?? 100,
    leaseMs: milliseconds(options.lease ?? '30s'),
    maxAttempts: options.attempts?.max ?? 10,
    backoffMs: milliseconds(options.attempts?.backoff ?? '1s'),
    keepSentMs: options.keepSent === undefined ? undefined : milliseconds(options.keepSent),
    shutdownTimeoutMs: milliseconds(options.shutdownTimeout ?? '10s'),
    tell: (hook, event) => {
      // async, so that a hook which answers a promise cannot disturb by its rejection either
      const call = async (): Promise<void> =>
        (hooks[hook] as ((event: unknown) => void) | undefined)?.call(hooks, event);
      void call().catch(() => undefined);
    },
  };
}

function sinkOf(key: string, sink: OutboxSink): Sink {
  if (!/^[\w.-]{1,64}$/.test(key)) {
    throw misconfigured(
      WHERE,
      `a sink is named ${show(key)}. Write 1 to 64 letters, digits, '.', '_' or '-'.`,
    );
  }
  if (typeof sink === 'function') {
    return { publish: sink };
  }
  if (typeof (Object(sink) as Partial<Sink>).publish !== 'function') {
    throw misconfigured(
      WHERE,
      `the sink '${key}' is ${show(sink)}. Write clientProxySink(…), bullMqSink(…) or a function.`,
    );
  }
  return sink;
}

function milliseconds(duration: Duration): number {
  return toMilliseconds(duration) as number; // checked before
}
