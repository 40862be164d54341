import type { AttemptsOptions, IdempotencyDefaults } from './idempotency.options.js';

/** Names a record. */
export interface IdempotencyKey {
  readonly key: string;
  /**
   * Whose key it is; for HTTP what `scope` answered, by default the id of `request.user`.
   * @default ''
   */
  readonly scope?: string;
  /**
   * The entry point: `'http'`, `'execute'`, or the name given to `execute()`.
   * @default for look-ups: both `'http'` and `'execute'`; for `execute()`: `'execute'`
   */
  readonly operation?: string;
}

export interface ExecuteOptions
  extends
    IdempotencyKey,
    Pick<
      IdempotencyDefaults,
      | 'mode'
      | 'strict'
      | 'ttl'
      | 'lease'
      | 'maxDuration'
      | 'onConcurrent'
      | 'waitTimeout'
      | 'errors'
      | 'expiredKeys'
      | 'onStoreFailure'
      | 'onUnknownOutcome'
      | 'maxResultBytes'
    > {
  /** What a retry must repeat; another payload with the same key is an error. */
  readonly payload?: unknown;
  /**
   * How often it may fail before it is parked. Who calls decides when to try again.
   * @default that of the module
   */
  readonly attempts?: Pick<AttemptsOptions, 'max'>;
}
