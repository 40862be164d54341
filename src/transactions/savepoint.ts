import type { TransactionScope } from './transaction-scope.js';

let names = 0;

/** A savepoint by a name of its own: two at once must never mean each other. */
export class Savepoint {
  private readonly name = `nestjs_idempotency_${(names += 1)}`;

  private constructor(private readonly scope: TransactionScope) {}

  /** Opens the scope, which must have the turn of its parent. */
  static async open(scope: TransactionScope): Promise<Savepoint> {
    const savepoint = new Savepoint(scope);
    await scope.send(`SAVEPOINT ${savepoint.name}`);
    return savepoint;
  }

  /** Its work becomes part of what is around it. Fails when the transaction was ended from inside. */
  async keep(): Promise<void> {
    await this.scope.turns.idle();
    this.scope.end = 'kept';
    await this.scope.send(`RELEASE SAVEPOINT ${this.name}`);
  }

  async undo(): Promise<void> {
    this.scope.end = 'undone';
    await this.scope.turns.idle().catch(() => undefined);
    await this.scope.send(`ROLLBACK TO SAVEPOINT ${this.name}`);
    await this.scope.send(`RELEASE SAVEPOINT ${this.name}`);
  }
}

/** Runs `work` as one turn of its surroundings, and undoes it when it fails. */
export function nested<T>(
  surroundings: TransactionScope,
  work: (scope: TransactionScope) => Promise<T>,
): Promise<T> {
  return surroundings.turns.take(async () => {
    const scope = surroundings.child();
    const savepoint = await Savepoint.open(scope);
    try {
      const result = await scope.run(() => work(scope));
      await savepoint.keep();
      return result;
    } catch (error) {
      // what failed first is what counts
      await savepoint.undo().catch(() => undefined);
      throw error;
    }
  });
}
