import type { ExecuteOptions, IdempotencyKey } from '../execute-options.js';

/** Options of `@Idempotent({ key })` on a method; each function gets the arguments of the call. */
export interface IdempotentMethodOptions<
  KeyArgs extends unknown[] = never[],
  ScopeArgs extends unknown[] = never[],
  PayloadArgs extends unknown[] = never[],
> extends Omit<ExecuteOptions, keyof IdempotencyKey | 'payload'> {
  /** Names the operation: calls with the same key are one call and its retries. 1 to 4,000 characters. */
  readonly key: (...args: KeyArgs) => string;
  /**
   * Whose key it is, for example a tenant.
   * @default the same for everybody
   */
  readonly scope?: (...args: ScopeArgs) => string | undefined;
  /**
   * What a retry must repeat. Another payload with the same key is refused with `IDEMPOTENCY_KEY_REUSED`.
   * @default nothing but the key
   */
  readonly payload?: (...args: PayloadArgs) => unknown;
}

/** The parameters a method must have for a function of the options to be called with its arguments. */
export type AsFarAs<Args extends unknown[]> = number extends Args['length']
  ? Args
  : [...Args, ...unknown[]];

/** Decorates methods that return a promise and whose parameters suit the functions of the options. */
export type IdempotentMethodDecorator<
  KeyArgs extends unknown[],
  ScopeArgs extends unknown[],
  PayloadArgs extends unknown[],
> = <Args extends AsFarAs<KeyArgs> & AsFarAs<ScopeArgs> & AsFarAs<PayloadArgs>, Result>(
  target: object,
  name: string | symbol,
  descriptor: TypedPropertyDescriptor<(...args: Args) => Promise<Result>>,
) => void;

/** The options once the types have done their work. */
export type AnyMethodOptions = IdempotentMethodOptions<unknown[], unknown[], unknown[]>;
