import type { ExecutionContext } from '@nestjs/common';
import type { Duration } from './engine/duration.js';
import type { FailurePolicy } from './engine/failure-policy.js';
import type { MessageOptions } from './messaging/message-options.js';
import type { UnknownOutcomeResolver } from './engine/unknown-outcome.js';

/** The platform's request (Express, or Fastify's wrapper), reduced to what both have. */
export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly query?: unknown;
  readonly params?: unknown;
  readonly body?: unknown;
  /** What a guard has set, if anything. */
  readonly user?: unknown;
}

/** What a fingerprint is computed from, before any pipe or the handler could change it. */
export interface FingerprintInput {
  readonly method: string;
  /** The path as it was requested, with global prefix and version, without the query. */
  readonly path: string;
  /** Name and value of each query parameter, sorted by name. */
  readonly query: readonly (readonly [string, string])[];
  /** The parsed body; bytes for raw bodies; fields and file digests for multipart. */
  readonly body: unknown;
}

export type FingerprintPart = 'method' | 'path' | 'query' | 'body' | `header:${string}`;

/** What `@Idempotent()` and the module both take; what a route says wins over the module. */
export interface IdempotencyDefaults {
  /**
   * - `'lease'`: the key is claimed, the handler runs holding no connection, its outcome is recorded. For
   *   effects anywhere.
   * - `'transactional'`: everything the handler does through TypeORM in the store's database commits together
   *   with its record, or not at all. Needs a store with transactions, such as `typeOrmStore()`.
   * @default 'lease'
   */
  mode?: 'lease' | 'transactional';
  /**
   * With `mode: 'transactional'`: whether work that leaves its transaction (queries on another connection,
   * or not awaited; a COMMIT of its own) fails the request, instead of being logged.
   * @default false
   */
  strict?: boolean;
  /**
   * How long an outcome is kept and replayed, from completion. Within it a retry never runs again.
   * @default '24h'
   */
  ttl?: Duration;
  /**
   * How long a claim outlives its process. It is renewed while the handler runs, so that a handler may
   * take longer; after a crash a retry runs once it is over.
   * @default '30s'
   */
  lease?: Duration;
  /**
   * After this long the lease is no longer renewed and the attempt's `AbortSignal` fires.
   * @default '15m'
   */
  maxDuration?: Duration;
  /**
   * What a duplicate gets while the first request runs: 409 `IDEMPOTENCY_IN_PROGRESS` with `Retry-After`,
   * or the first request's answer once there is one.
   * @default 'reject'
   */
  onConcurrent?: 'reject' | 'wait';
  /**
   * How long a duplicate waits before it is rejected after all. Only with `onConcurrent: 'wait'`.
   * @default '10s'
   */
  waitTimeout?: Duration;
  /**
   * Which failures are stored and replayed, and which let a retry run.
   * @default 'release'
   */
  errors?: FailurePolicy;
  /**
   * A key that carries its own time (UUIDv7, ULID) and is older than `ttl` cannot be told from one that
   * ran and was forgotten: `'refuse'` answers 409 `IDEMPOTENCY_KEY_EXPIRED`, `'rerun'` runs it.
   * @default 'refuse'
   */
  expiredKeys?: 'refuse' | 'rerun';
  /**
   * While the store does not answer: `'closed'` answers 503 and runs nothing; `'open'` runs without
   * protection, marks the response with `Idempotency-Unprotected: true` and calls `onUnprotected`.
   * @default 'closed'
   */
  onStoreFailure?: 'closed' | 'open';
  /**
   * What a retry does when an attempt died, or failed after `once.effectStarted()`, so that nobody knows whether
   * its effect happened. Unset: it runs, unless the effect had started; then it gets 409
   * `IDEMPOTENCY_OUTCOME_UNCERTAIN`. `'rerun'`: it runs in either case. `'block'`: it gets 409 in either case,
   * also without `effectStarted()`. A function: as `'block'`, but it is asked what happened first.
   * @default unset
   */
  onUnknownOutcome?: 'rerun' | 'block' | UnknownOutcomeResolver;
  /**
   * Larger results are sent to the first caller but not kept: a retry gets 409
   * `IDEMPOTENCY_RESULT_UNAVAILABLE`. In bytes.
   * @default 1_048_576
   */
  maxResultBytes?: number;
  /**
   * How often a message, method or `execute()` that fails is tried before it is parked: listed with its last error,
   * and not run again before an operator redrives it. Not for HTTP, whose clients decide that themselves.
   * @default unset: for as long as somebody tries
   */
  attempts?: AttemptsOptions;
  /** @default 'Idempotency-Key' */
  header?: string;
  /**
   * Whether a request without a key is answered 400. `false` runs it without protection.
   * @default true
   */
  required?: boolean;
  /**
   * Takes only the quoted form of the key (a structured-field String, RFC 8941).
   * @default false
   */
  strictKey?: boolean;
  /** What a key must match, for example only UUIDs. */
  keyPattern?: RegExp;
  /** @default 255 */
  maxKeyLength?: number;
  /**
   * Who the key belongs to: a stable id of the principal or tenant, never a credential, which changes
   * between retries. `undefined`: unknown, and then the credentials of the request become part of the
   * fingerprint, so that a stranger with the same key gets 422.
   * @default `id`, `sub` or `userId` of `request.user`
   */
  scope?(
    request: HttpRequest,
    context: ExecutionContext,
  ): string | undefined | Promise<string | undefined>;
  /**
   * What a retry must repeat: the parts by name, or a function whose answer stands for the whole
   * request. Another request with the same key is answered 422 `IDEMPOTENCY_KEY_REUSED`.
   * @default ['method', 'path', 'query', 'body']
   */
  fingerprint?: readonly FingerprintPart[] | FingerprintFunction;
  /**
   * Response headers to keep and replay besides `Content-Type`, `Content-Disposition`, `Location`,
   * `ETag`, `Content-Language` and `Last-Modified`.
   * @default []
   */
  replayHeaders?: readonly string[];
  /**
   * Fields of a JSON response that are not kept, by their paths: `'card.number'`, `'items.*.token'` (`*`: each element
   * or member). A replay has `"[redacted]"` in their place. A response that is no JSON is not kept then.
   * @default []
   */
  redact?: readonly string[];
  /**
   * How many live keys a caller may have: another new one is answered 429 `IDEMPOTENCY_TOO_MANY_KEYS`, and nothing is
   * run. Routes only, and only requests with a scope. It needs an index: `typeOrmStore({ scopeIndex: true })`.
   * @default unset: any number
   */
  maxKeysPerScope?: number;
  /**
   * Whether the caller may still have the recorded response of a key: `false` answers 403
   * `IDEMPOTENCY_REPLAY_FORBIDDEN`. Guards have been asked before; what it throws is the answer.
   * @default everybody whose scope and request are the same
   */
  authorizeReplay?(request: HttpRequest, context: ExecutionContext): boolean | Promise<boolean>;
  /**
   * RabbitMQ: what `noAck` of the transport's options is, which no handler can see. `false`: the broker waits, and
   * the library acknowledges once the outcome is durable. `true`: what is being processed is lost with its process.
   * Required for handlers of that transport.
   */
  noAck?: boolean;
}

/** Attempts are counted durably; one that died with its process counts too. */
export interface AttemptsOptions {
  /** Attempts that may fail or die, 1 to 1,000,000. What a framework steers with (`DelayedError`) does not count. */
  readonly max: number;
  /**
   * How long the delivery of a message is put off after a failure, where the transport can: a duration, or a function
   * of the number of the attempt that failed (1 for the first).
   * @default doubles from 1 second to 1 minute, with jitter
   */
  readonly backoff?: Duration | ((attempt: number) => Duration);
  /**
   * What RabbitMQ is told of an event whose attempts are used up: `'dead-letter'` rejects it, to the dead-letter
   * exchange of its queue; `'park'` acknowledges it, and only its record is left. For queues whose dead letters come
   * back, or have no exchange to go to. Other transports have no dead letters.
   * @default 'dead-letter'
   */
  readonly onExhausted?: 'park' | 'dead-letter';
}

export type FingerprintFunction = (input: FingerprintInput, context: ExecutionContext) => unknown;

/** Options of `@Idempotent()`. */
export type IdempotentOptions = IdempotencyDefaults & MessageOptions;
