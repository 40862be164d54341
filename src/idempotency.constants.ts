/** Metadata key of `@Idempotent()` on a method or class. */
export const IDEMPOTENT_METADATA = 'nestjs-idempotency:options';
/** Injection token of the store. */
export const IDEMPOTENCY_STORE = Symbol('nestjs-idempotency:store');
/** Injection token of the resolved module options. */
export const IDEMPOTENCY_SETTINGS = Symbol('nestjs-idempotency:settings');
