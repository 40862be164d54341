import type { IdempotentOptions } from './idempotency.options.js';

/** What `@Idempotent()` leaves on a method, under `IDEMPOTENT_METADATA`. */
export interface IdempotentMetadata {
  readonly options: IdempotentOptions;
  /** The method's name in its class, which its function need not have. */
  readonly property: string | symbol;
  /** `class`: the method is idempotent because its class is; safe HTTP methods are left alone. */
  readonly level: 'class' | 'method';
}
