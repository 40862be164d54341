/** Of the tracer and the meter. */
export const SCOPE = 'nestjs-idempotency';

export const HANDLER = 'idempotency.handler';
export const OUTCOME = 'idempotency.outcome';
export const CODE = 'idempotency.code';
export const ATTEMPT = 'idempotency.attempt';
/** The record's id, a digest; on spans only. */
export const RECORD = 'idempotency.record';
export const STATE = 'idempotency.state';
export const FINAL = 'idempotency.final';
export const STORE = 'idempotency.store';
export const CALL = 'idempotency.store.call';
export const ERROR_TYPE = 'error.type';
