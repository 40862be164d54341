/** Stable, documented codes. A client may branch on them; they never change their meaning. */
export const IDEMPOTENCY_CODES = [
  'IDEMPOTENCY_KEY_MISSING',
  'IDEMPOTENCY_KEY_INVALID',
  'IDEMPOTENCY_KEY_REUSED',
  'IDEMPOTENCY_IN_PROGRESS',
  'IDEMPOTENCY_OUTCOME_UNCERTAIN',
  'IDEMPOTENCY_RESULT_UNAVAILABLE',
  'IDEMPOTENCY_KEY_EXPIRED',
  'IDEMPOTENCY_STORE_UNAVAILABLE',
  'IDEMPOTENCY_RECORD_UNREADABLE',
  'IDEMPOTENCY_MISCONFIGURED',
] as const;

export type IdempotencyCode = (typeof IDEMPOTENCY_CODES)[number];

/**
 * Every error of the library. `message` is a plain sentence that says what to do next; it never
 * holds a raw key, a body or a driver's text. What the driver said is in `cause`.
 */
export class IdempotencyError extends Error {
  override readonly name = 'IdempotencyError';
  /** For `IDEMPOTENCY_IN_PROGRESS` and `IDEMPOTENCY_STORE_UNAVAILABLE`: when to try again. */
  readonly retryAfterSeconds?: number;

  constructor(
    readonly code: IdempotencyCode,
    message: string,
    options: { cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    if (options.retryAfterSeconds !== undefined) {
      this.retryAfterSeconds = options.retryAfterSeconds;
    }
  }
}
