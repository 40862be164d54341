/** Codes of what the client itself refuses or gives up. What the server answers has codes of its own. */
export type IdempotencyClientCode =
  /** The deadline is over and no answer came: whether it happened is not known. `cause` is the last failure. */
  | 'IDEMPOTENCY_UNANSWERED'
  /** The body is a stream, which cannot be sent a second time. */
  | 'IDEMPOTENCY_BODY_NOT_REPEATABLE'
  /** The browser does not let the header through. */
  | 'IDEMPOTENCY_HEADER_REMOVED'
  /** The storage of pending keys failed, or holds something else. Nothing was sent. */
  | 'IDEMPOTENCY_STORAGE_FAILED'
  | 'IDEMPOTENCY_CLIENT_MISUSED';

/** Thrown by the client. The message says what to do next. */
export class IdempotencyClientError extends Error {
  override readonly name = 'IdempotencyClientError';

  constructor(
    readonly code: IdempotencyClientCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function misused(message: string): IdempotencyClientError {
  return new IdempotencyClientError('IDEMPOTENCY_CLIENT_MISUSED', message);
}
