import { toMilliseconds, type Duration } from './engine/duration.js';
import { both, emitterFor, type Emit } from './engine/events.js';
import type { FailurePolicy } from './engine/failure-policy.js';
import type { KeyRules } from './engine/key-header.js';
import type { OperationPolicy } from './engine/operation.js';
import type {
  FingerprintFunction,
  FingerprintPart,
  IdempotencyDefaults,
  IdempotencyModuleOptions,
  ReplayCacheOptions,
} from './idempotency.options.js';
import type { Telemetry } from './engine/telemetry.js';
import { logged } from './event-log.js';
import { attemptsPolicy } from './attempts-policy.js';
import { encryptionKeys } from './encryption-keys.js';
import { checkModuleOptions } from './module-options-check.js';
import { checkRouteOptions } from './settled-options-check.js';
import type { CacheLimits } from './stores/cached/record-cache.js';
import type { EncryptionKeys } from './stores/encrypted/keyring.js';

/** The options of one operation with every default filled in and every duration in milliseconds. */
export interface OperationSettings {
  readonly policy: OperationPolicy;
  readonly errors: FailurePolicy;
  readonly maxResultBytes: number;
  readonly header: string;
  readonly required: boolean;
  readonly keyRules: KeyRules;
  readonly scope: IdempotencyDefaults['scope'];
  readonly fingerprint: readonly FingerprintPart[] | FingerprintFunction;
  /** Lower case. */
  readonly replayHeaders: readonly string[];
  /** Where the fields are, name by name. */
  readonly redact: readonly (readonly string[])[];
  readonly authorizeReplay: IdempotencyDefaults['authorizeReplay'];
  readonly maxKeysPerScope: number | undefined;
  readonly noAck: boolean | undefined;
}

export interface ModuleSettings {
  readonly options: IdempotencyModuleOptions;
  readonly namespace: string;
  readonly storeTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  readonly mask: (key: string) => string | null;
  /** Tells the application's hooks, and the log of what must not pass unseen. */
  readonly emit: Emit;
  readonly cleanup: { readonly intervalMs: number; readonly batchSize: number } | undefined;
  readonly replayCache: CacheLimits | undefined;
  readonly encryption: EncryptionKeys | undefined;
  readonly telemetry: Telemetry | undefined;
}

const DEFAULTS = {
  mode: 'lease',
  strict: false,
  ttl: '24h',
  lease: '30s',
  maxDuration: '15m',
  onConcurrent: 'reject',
  waitTimeout: '10s',
  errors: 'release',
  expiredKeys: 'refuse',
  onStoreFailure: 'closed',
  maxResultBytes: 1_048_576,
  header: 'Idempotency-Key',
  required: true,
  strictKey: false,
  maxKeyLength: 255,
  fingerprint: ['method', 'path', 'query', 'body'],
  replayHeaders: [],
  redact: [],
} as const satisfies IdempotencyDefaults;

/**
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` with a sentence that names the option, the value
 *   and what to write instead.
 */
export function moduleSettings(options: IdempotencyModuleOptions = {}): ModuleSettings {
  checkModuleOptions(options);
  const { cleanup = {}, maskKey, replayCache = false, encryption } = options;
  const settings: ModuleSettings = {
    options,
    namespace: options.namespace ?? '',
    storeTimeoutMs: milliseconds(options.storeTimeout ?? '5s'),
    shutdownTimeoutMs: milliseconds(options.shutdownTimeout ?? '10s'),
    emit: logged(both(emitterFor(options.telemetry?.hooks ?? {}), emitterFor(options.hooks ?? {}))),
    telemetry: options.telemetry,
    mask: maskKey === undefined ? (key) => key : harmless(maskKey),
    cleanup:
      cleanup === false
        ? undefined
        : {
            intervalMs: milliseconds(cleanup.interval ?? '1m'),
            batchSize: cleanup.batchSize ?? 1_000,
          },
    replayCache: replayCache === false ? undefined : cacheLimits(replayCache),
    encryption: encryption && encryptionKeys(encryption),
  };
  // the defaults of every route must fit together before there is one
  operationSettings(settings, {}, 'IdempotencyModule');
  return settings;
}

/**
 * What holds for one operation: its own options over the module's over the defaults.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` as above; `where` begins its sentence.
 */
export function operationSettings(
  module: ModuleSettings,
  route: IdempotencyDefaults,
  where: string,
  defaults: Pick<IdempotencyDefaults, 'onConcurrent'> = {},
): OperationSettings {
  const merged = {
    ...DEFAULTS,
    ...defaults,
    ...defined(module.options),
    ...defined(route),
  };
  checkRouteOptions(route, merged, module.options.storeTimeout, where);
  return {
    policy: {
      mode: merged.mode,
      strict: merged.strict,
      ttlMs: milliseconds(merged.ttl),
      leaseMs: milliseconds(merged.lease),
      maxDurationMs: milliseconds(merged.maxDuration),
      onConcurrent: merged.onConcurrent,
      waitTimeoutMs: milliseconds(merged.waitTimeout),
      expiredKeys: merged.expiredKeys,
      onStoreFailure: merged.onStoreFailure,
      onUnknownOutcome: merged.onUnknownOutcome,
      maxResultBytes: merged.maxResultBytes,
      attempts: attemptsPolicy(merged.attempts, where),
    },
    errors: merged.errors,
    maxResultBytes: merged.maxResultBytes,
    header: merged.header,
    required: merged.required,
    keyRules: {
      strict: merged.strictKey,
      maxLength: merged.maxKeyLength,
      pattern: merged.keyPattern,
    },
    scope: merged.scope,
    fingerprint: merged.fingerprint,
    replayHeaders: merged.replayHeaders.map((name) => name.toLowerCase()),
    redact: merged.redact.map((path) => path.split('.')),
    authorizeReplay: merged.authorizeReplay,
    maxKeysPerScope: merged.maxKeysPerScope,
    noAck: merged.noAck,
  };
}

function cacheLimits(given: true | ReplayCacheOptions): CacheLimits {
  const { maxEntries = 10_000, maxBytes = 33_554_432, maxAge = '1m' } = given === true ? {} : given;
  return { maxEntries, maxBytes, maxAgeMs: milliseconds(maxAge) };
}

function milliseconds(duration: Duration): number {
  return toMilliseconds(duration) as number; // checked before
}

/** A function that fails must not fail the request: then nothing is written for people to read. */
function harmless(maskKey: (key: string) => string | null): (key: string) => string | null {
  return (key) => {
    try {
      const text: unknown = maskKey(key);
      return typeof text === 'string' ? text : null;
    } catch {
      return null;
    }
  };
}

/** `{ ttl: undefined }` means what `{}` means. */
export function defined<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as T;
}
