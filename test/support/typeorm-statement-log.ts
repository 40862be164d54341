import type { Logger } from 'typeorm';

interface Statement {
  readonly sql: string;
  readonly parameters: unknown[];
}

/** Sees every statement of the DataSource that has it as its `logger`. */
export class StatementLog implements Logger {
  private statements: Statement[] = [];

  /** What `work` sent to the database. */
  async during(work: () => Promise<unknown>): Promise<readonly Statement[]> {
    this.statements = [];
    await work();
    return this.statements;
  }

  logQuery(sql: string, parameters: unknown[] = []): void {
    this.statements.push({ sql, parameters });
  }
  logQueryError(): void {}
  logQuerySlow(): void {}
  logSchemaBuild(): void {}
  logMigration(): void {}
  log(): void {}
}
