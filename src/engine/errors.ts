/** Stable, documented codes. A client may branch on them; they never change their meaning. */
export const IDEMPOTENCY_CODES = [
  'IDEMPOTENCY_KEY_MISSING',
  'IDEMPOTENCY_KEY_INVALID',
  'IDEMPOTENCY_KEY_REUSED',
  'IDEMPOTENCY_IN_PROGRESS',
  'IDEMPOTENCY_OUTCOME_UNCERTAIN',
  'IDEMPOTENCY_PARKED',
  'IDEMPOTENCY_REPLAY_FORBIDDEN',
  'IDEMPOTENCY_RESULT_UNAVAILABLE',
  'IDEMPOTENCY_KEY_EXPIRED',
  'IDEMPOTENCY_TOO_MANY_KEYS',
  'IDEMPOTENCY_STORE_UNAVAILABLE',
  'IDEMPOTENCY_SHUTTING_DOWN',
  'IDEMPOTENCY_RECORD_UNREADABLE',
  'IDEMPOTENCY_TRANSACTION_BROKEN',
  'IDEMPOTENCY_TRANSACTION_CONFLICT',
  'IDEMPOTENCY_STEPS_CHANGED',
  'IDEMPOTENCY_MISCONFIGURED',
] as const;

export type IdempotencyCode = (typeof IDEMPOTENCY_CODES)[number];

const STATUS_CODES: Readonly<Record<IdempotencyCode, number>> = {
  IDEMPOTENCY_KEY_MISSING: 400,
  IDEMPOTENCY_KEY_INVALID: 400,
  IDEMPOTENCY_KEY_REUSED: 422,
  IDEMPOTENCY_IN_PROGRESS: 409,
  IDEMPOTENCY_OUTCOME_UNCERTAIN: 409,
  IDEMPOTENCY_PARKED: 409,
  IDEMPOTENCY_REPLAY_FORBIDDEN: 403,
  IDEMPOTENCY_RESULT_UNAVAILABLE: 409,
  IDEMPOTENCY_KEY_EXPIRED: 409,
  IDEMPOTENCY_TOO_MANY_KEYS: 429,
  IDEMPOTENCY_STORE_UNAVAILABLE: 503,
  IDEMPOTENCY_SHUTTING_DOWN: 503,
  IDEMPOTENCY_RECORD_UNREADABLE: 500,
  IDEMPOTENCY_TRANSACTION_BROKEN: 500,
  IDEMPOTENCY_TRANSACTION_CONFLICT: 503,
  IDEMPOTENCY_STEPS_CHANGED: 500,
  IDEMPOTENCY_MISCONFIGURED: 500,
};

/**
 * Every error of the library. `message` is a plain sentence that says what to do next; it never
 * holds a raw key, a body or a driver's text. What the driver said is in `cause`.
 */
export class IdempotencyError extends Error {
  override readonly name = 'IdempotencyError';
  /** When to try again, where that may help. */
  readonly retryAfterSeconds?: number;
  /**
   * What an HTTP client is answered when the error reaches it. With `statusCode` and `expose` it has the
   * form of the `http-errors` package, which Nest's own exception filter understands.
   */
  readonly status: number;
  readonly statusCode: number;
  /** The message is fit for clients. */
  readonly expose = true;

  constructor(
    readonly code: IdempotencyCode,
    message: string,
    options: { cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.status = STATUS_CODES[code];
    this.statusCode = this.status;
    if (options.retryAfterSeconds !== undefined) {
      this.retryAfterSeconds = options.retryAfterSeconds;
    }
  }
}
