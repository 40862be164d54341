/** Injection token of the resolved options of the `OutboxModule`. */
export const OUTBOX_SETTINGS = Symbol('nestjs-idempotency:outbox');
