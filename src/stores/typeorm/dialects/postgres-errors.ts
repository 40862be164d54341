import type { DatabaseErrors } from './database-errors.js';

const NO_SUCH_SAVEPOINT = '3B001';
const NO_TRANSACTION = '25P01';
const TRANSACTION_FAILED = '25P02';
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';
const UNDEFINED_TABLE = '42P01';
const UNDEFINED_COLUMN = '42703';
const INVALID_SCHEMA = '3F000';
const SQLSTATE = /^[0-9A-Z]{5}$/;
/** Connection exceptions, and shutdowns by the administrator or a time-out. */
const CONNECTION_LOST = /^(08|57P|25P03)/;

const gaveUp: DatabaseErrors['isTransient'] = ({ code }) =>
  code === SERIALIZATION_FAILURE || code === DEADLOCK;

export const postgresErrors: DatabaseErrors = {
  isTransient: gaveUp,
  isConflict: gaveUp,
  isSavepointMissing: ({ code }) => code === NO_SUCH_SAVEPOINT || code === NO_TRANSACTION,
  isRefusal: ({ code }) => code !== undefined && SQLSTATE.test(code) && !CONNECTION_LOST.test(code),
  isSchemaMissing: ({ code }) =>
    code === UNDEFINED_TABLE || code === UNDEFINED_COLUMN || code === INVALID_SCHEMA,
};

/** What PostgreSQL does not say itself when it answers COMMIT with ROLLBACK, after an error that was swallowed. */
export function rolledBack(): Error {
  return Object.assign(new Error('COMMIT was answered with ROLLBACK'), {
    code: TRANSACTION_FAILED,
  });
}
