import { createHash } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { driverError } from './errors.js';
import type { PgClient } from './pg-client.js';
import { PlanAge } from './plan-age.js';

/**
 * Sends statements under names, so that PostgreSQL parses and plans each of them once for a connection: for statements
 * that meet one row that is most of what they cost.
 *
 * A pooler that lends one connection of the server to many may not know the names (PgBouncer before 1.21, in transaction
 * pooling). The server then refuses a statement before it runs it, and from there on none has a name. A name is a digest of its
 * text, so that under somebody else's name there is nothing else.
 */
export class NamedStatements {
  /**
   * Plans each statement for the values that it comes with, and without a name. A plan that is kept for all values
   * locks every partition of the table, and waits for whoever is at one of them.
   */
  isForValues = false;
  private areKnown = true;
  private readonly names = new Map<string, string>();
  private readonly plans = new PlanAge();

  constructor(private readonly dataSource: DataSource) {}

  /** As `dataSource.query()`. */
  async query<T>(sql: string, parameters: readonly unknown[]): Promise<T> {
    if (this.isForValues || !this.areKnown) {
      return this.dataSource.query<T>(sql, [...parameters]);
    }
    const runner = this.dataSource.createQueryRunner();
    // one that joins an open transaction, which a refusal would end, sends in its own way and without names
    const connect = runner.connect.bind(runner);
    runner.connect = async () => {
      const client = (await connect()) as PgClient;
      return {
        query: (text: string, values: readonly unknown[]) => this.send(client, text, values),
      };
    };
    try {
      return await this.dataSource.query<T>(sql, [...parameters], runner);
    } finally {
      await runner.release();
    }
  }

  private async send(client: PgClient, text: string, values: readonly unknown[]): Promise<unknown> {
    try {
      await this.plans.grow(client);
      return await client.query({ name: this.named(text), text, values });
    } catch (error) {
      if (!isUnknownName(error)) throw error;
      this.areKnown = false;
      return client.query(text, values);
    }
  }

  private named(sql: string): string {
    let name = this.names.get(sql);
    if (name === undefined) {
      name = nameOf(sql);
      this.names.set(sql, name);
    }
    return name;
  }
}

/** No such name, a name that is taken, and a statement whose columns have changed since. */
const REFUSALS: ReadonlySet<string | undefined> = new Set(['26000', '42P05', '0A000']);

export function isUnknownName(error: unknown): boolean {
  return REFUSALS.has(driverError(error).code);
}

/** The same for the same text only, so that under somebody else's name there is nothing else. */
export function nameOf(sql: string): string {
  return `idempotency_${createHash('sha256').update(sql).digest('hex').slice(0, 32)}`;
}
