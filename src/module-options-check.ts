import type { IdempotencyHooks } from './engine/events.js';
import { checkAttempts, ROUTE_CHECKS } from './handler-options-check.js';
import type { IdempotencyModuleOptions, ReplayCacheOptions } from './idempotency.options.js';
import {
  aFunction,
  boolean,
  duration,
  integer,
  isRecord,
  show,
  timer,
  type Check,
} from './option-values.js';
import { checkEach, misconfigured, MODULE } from './options-check.js';
import { waitWithoutWaiting } from './settled-options-check.js';

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
  telemetry: (value) =>
    isRecord(value) && 'around' in value
      ? undefined
      : 'Write openTelemetry() of nestjs-idempotency/telemetry.',
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
  'onWaited',
  'onLeaseLost',
  'onReleased',
  'onUncertain',
  'onParked',
  'onEscaped',
  'onExpired',
  'onUnprotected',
  'onRecordingFailed',
];

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
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
