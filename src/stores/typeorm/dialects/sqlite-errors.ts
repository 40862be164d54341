import type { DatabaseErrors } from './database-errors.js';

const isBusy: DatabaseErrors['isTransient'] = ({ code }) =>
  code !== undefined && /^SQLITE_(BUSY|LOCKED)/.test(code);

export const sqliteErrors: DatabaseErrors = {
  isTransient: isBusy,
  isConflict: isBusy,
  isSavepointMissing: ({ message }) => message.includes('no such savepoint'),
  isRefusal: ({ code }) => code?.startsWith('SQLITE_') === true,
  isSchemaMissing: ({ message }) => /no such (table|column)/.test(message),
};
