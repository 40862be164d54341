import { IdempotencyError } from '../../engine/errors.js';
import type { DriverError } from './dialects/database-errors.js';

/**
 * TypeORM wraps what the driver said into an error that holds the statement and its parameters.
 * Not told by `instanceof`: a native driver may make its errors in another realm than ours.
 */
export function driverError(error: unknown): DriverError {
  const { driverError: said = error } = Object(error) as { driverError?: unknown };
  const { message = String(said), code, errno } = Object(said) as Partial<DriverError>;
  return { message, ...(code !== undefined && { code }), ...(errno !== undefined && { errno }) };
}

/**
 * What may be seen of a driver's error: its text and codes. Not the error itself: mysql2 keeps the
 * whole statement in it, and with that the client's key and the response.
 */
export function safeCause(error: unknown): Error {
  const { message, ...codes } = driverError(error);
  return Object.assign(new Error(message), codes);
}

export function unavailable(name: string, error: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    `The idempotency store did not answer. Check that its ${name} database is reachable and can be ` +
      `written, then try again.`,
    { cause: safeCause(error) },
  );
}
