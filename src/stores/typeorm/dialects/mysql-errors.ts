import type { DatabaseErrors, DriverError } from './database-errors.js';

/** Shutdown, an error in the middle of COMMIT, aborted or killed connections, and time-outs of silent ones. */
const CONNECTION_LOST = new Set([1053, 1180, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031]);
const RECORD_CHANGED = 1020;
const UNKNOWN_DATABASE = 1049;
const UNKNOWN_COLUMN = 1054;
const DUPLICATE = 1062;
const NO_SUCH_TABLE = 1146;
const LOCK_WAIT_TIMEOUT = 1205;
const NO_SUCH_SAVEPOINT = 1305;
const DEADLOCK = 1213;

/** Is there a row with that key already? */
export function isDuplicate({ errno }: DriverError): boolean {
  return errno === DUPLICATE;
}

/** Did somebody else have the row for longer than we wait? */
export function isLockTimeout({ errno }: DriverError): boolean {
  return errno === LOCK_WAIT_TIMEOUT;
}

export const mysqlErrors: DatabaseErrors = {
  isTransient: (error) => isLockTimeout(error) || mysqlErrors.isConflict(error),
  /** After a wait that timed out, the next one might as well. */
  isConflict: ({ errno }) => errno === DEADLOCK || errno === RECORD_CHANGED,
  isSavepointMissing: ({ errno }) => errno === NO_SUCH_SAVEPOINT,
  // errors of the network have negative numbers
  isRefusal: ({ errno }) => errno !== undefined && errno > 0 && !CONNECTION_LOST.has(errno),
  isSchemaMissing: ({ errno }) =>
    errno === NO_SUCH_TABLE || errno === UNKNOWN_COLUMN || errno === UNKNOWN_DATABASE,
};
