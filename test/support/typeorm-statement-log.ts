import { AbstractLogger } from 'typeorm';
import type { LogLevel, LogMessage } from 'typeorm';

/** Counts the statements of a DataSource, which needs `logging: true`. */
export class StatementLog extends AbstractLogger {
  readonly statements: string[] = [];

  async count(work: () => Promise<unknown>): Promise<number> {
    const before = this.statements.length;
    await work();
    return this.statements.length - before;
  }

  protected writeLog(_level: LogLevel, messages: LogMessage | LogMessage[]): void {
    for (const { type, message } of [messages].flat() as LogMessage[]) {
      if (type === 'query') this.statements.push(String(message));
    }
  }
}
