import type { PgClient } from './pg-client.js';

/** Statements that a connection sends by plans of the same age. */
const PLAN_USES = 250;

/**
 * Lets each connection plan anew from time to time: a plan that was made while the table was small reads all of it, and
 * nobody tells the server when it has grown.
 */
export class PlanAge {
  private readonly uses = new WeakMap<PgClient, number>();

  /** Before each use of a plan. */
  async grow(client: PgClient): Promise<void> {
    const uses = (this.uses.get(client) ?? 0) + 1;
    this.uses.set(client, uses);
    if (uses % PLAN_USES === 0) {
      await client.query('DISCARD PLANS');
    }
  }
}
