/** What drivers say about an error: a SQLSTATE or name, and a number on MySQL and MariaDB. */
export interface DriverError {
  readonly code?: string;
  readonly errno?: number;
  readonly message: string;
}

/** What the errors of one database mean. */
export interface DatabaseErrors {
  /** Did it give up a statement (deadlock, serialization, busy) that may just be sent again? */
  isTransient(error: DriverError): boolean;
  /** Did it give up a transaction because of others at the same time, so that it may just be run again? */
  isConflict(error: DriverError): boolean;
  /** Is the savepoint gone, and with it the transaction that it was set in? */
  isSavepointMissing(error: DriverError): boolean;
  /** Did the database itself say so, and is it still there? */
  isRefusal(error: DriverError): boolean;
  /** Does the error say that a table, sequence or column is not there? */
  isSchemaMissing(error: DriverError): boolean;
}
