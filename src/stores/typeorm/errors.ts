import { IdempotencyError } from '../../engine/errors.js';
import type { DriverError } from './dialects/dialect.js';

/** TypeORM wraps what the driver said into an error that holds the statement and its parameters. */
export function driverError(error: unknown): DriverError {
  const driver = (error as { driverError?: unknown } | null)?.driverError ?? error;
  return driver instanceof Error ? (driver as DriverError & Error) : { message: String(driver) };
}

/**
 * What may be seen of a driver's error: its text and codes. Not the error itself: mysql2 keeps the
 * whole statement in it, and with that the client's key and the response.
 */
export function safeCause(error: unknown): Error {
  const { message, code, errno } = driverError(error);
  const cause = new Error(message);
  if (code !== undefined) Object.assign(cause, { code });
  if (errno !== undefined) Object.assign(cause, { errno });
  return cause;
}

export function unavailable(name: string, error: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    `The idempotency store did not answer. Check that its ${name} database is reachable and can be ` +
      `written, then try again.`,
    { cause: safeCause(error) },
  );
}
