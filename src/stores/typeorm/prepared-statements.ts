import type { PgClient } from './pg-client.js';
import { isUnknownName, nameOf } from './named-statements.js';
import { PlanAge } from './plan-age.js';

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
  private readonly knowing = new WeakSet<PgClient>();
  private readonly plans = new PlanAge();
  private readonly names: Readonly<Record<Name, string>>;
  private readonly prepareSql: string;

  constructor(statements: Readonly<Record<Name, PreparedStatement>>) {
    const named = Object.entries<PreparedStatement>(statements).map(([key, { types, text }]) => ({
      key,
      name: nameOf(`(${types}) ${text}`),
      types,
      text,
    }));
    this.names = Object.fromEntries(named.map(({ key, name }) => [key, name])) as typeof this.names;
    this.prepareSql = named
      .map(({ name, types, text }) => `PREPARE ${name} (${types}) AS ${text}`)
      .join('; ');
  }

  /** Whether the connection can execute them. It must be in no transaction. */
  async introduceTo(client: PgClient): Promise<boolean> {
    if (!this.areKept) {
      return false;
    }
    if (!this.knowing.has(client)) {
      try {
        await client.query(this.prepareSql);
      } catch (error) {
        if (!this.areRefused(error)) throw error;
        return false;
      }
      this.knowing.add(client);
    }
    await this.plans.grow(client);
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
}
