import type { Row } from './rows.js';

/** What TypeORM has from `pg`. */
export interface PgClient {
  query(statement: NamedStatement): Promise<PgResult>;
  /** One result for each statement. */
  query(sql: string, values?: readonly unknown[]): Promise<PgResult | PgResult[]>;
  /** Newer versions tell what the server said of the transaction with its last answer. */
  getTransactionStatus?(): string | null;
}

export interface NamedStatement {
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
}

export interface PgResult {
  readonly rows: Row[];
  /** What the server says that it has done. */
  readonly command: string;
}
