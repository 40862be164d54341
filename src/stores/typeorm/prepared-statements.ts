import type { PgClient } from './pg-client.js';
import { PLAN_USES, isUnknownName, nameOf } from './named-statements.js';

export interface PreparedStatement {
  /** Of its parameters, in their order. */
  readonly types: string;
  readonly text: string;
}

/**
 * Statements for messages of several statements, which cannot have parameters: each connection prepares them once, and
 * executes them from then on, so that PostgreSQL plans each of them once for a connection.
 *
 * Behind a pooler that lends one connection of the server to many, the server soon refuses one, and from there on none is
 * used: send what can be sent again, or in a message that began the transaction.
 */
export class PreparedStatements<Name extends string> {
  private areKept = true;
  private readonly uses = new WeakMap<PgClient, number>();
  private readonly names: Record<Name, string>;

  constructor(private readonly statements: Readonly<Record<Name, PreparedStatement>>) {
    const entries = Object.entries<PreparedStatement>(statements);
    this.names = Object.fromEntries(
      entries.map(([name, { types, text }]) => [name, nameOf(`(${types}) ${text}`)]),
    ) as Record<Name, string>;
  }

  /** Whether the connection can execute them. It must be in no transaction. */
  async introduceTo(client: PgClient): Promise<boolean> {
    if (!this.areKept) {
      return false;
    }
    const uses = this.uses.get(client) ?? 0;
    if (uses === 0) {
      try {
        await client.query(this.prepareSql());
      } catch (error) {
        if (!this.areRefused(error)) throw error;
        return false;
      }
    } else if (uses % PLAN_USES === 0) {
      await client.query('DISCARD PLANS');
    }
    this.uses.set(client, uses + 1);
    return true;
  }

  /** @param values SQL expressions, one for each parameter */
  executeSql(name: Name, values: readonly string[]): string {
    return `EXECUTE ${this.names[name]} (${values.join(', ')})`;
  }

  /** Whether the server refused because of the names. Then none is used any more. */
  areRefused(error: unknown): boolean {
    const isRefused = isUnknownName(error);
    if (isRefused) {
      this.areKept = false;
    }
    return isRefused;
  }

  private prepareSql(): string {
    return Object.entries<PreparedStatement>(this.statements)
      .map(([name, { types, text }]) => `PREPARE ${this.names[name as Name]} (${types}) AS ${text}`)
      .join('; ');
  }
}
