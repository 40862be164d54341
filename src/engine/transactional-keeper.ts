import type { Attempt } from './attempt.js';
import { IdempotencyError } from './errors.js';
import type { Keeper } from './progress.js';
import type { Step, Steps } from './steps.js';
import type { Escape, StoreTransaction, StoreTransactions } from './store.js';

/**
 * Steps of a transactional attempt: what they do in the database is undone with it, what they do elsewhere is
 * not. So only those that sent no statement outlast a failure, and they are written down when it is known.
 */
export class TransactionalKeeper implements Keeper {
  constructor(
    private readonly transactions: StoreTransactions,
    private readonly whole: StoreTransaction,
    private readonly attempt: Attempt,
    private readonly watch: (escape: Escape) => void,
  ) {
    if (transactions.isInside()) {
      // a part lives as long as the whole, whose owner alone tells the database that it is alive
      attempt.confirmedAt = Infinity;
    }
  }

  async step<T>(steps: Steps, step: Step, work: () => Promise<T>): Promise<T> {
    const before = this.whole.statements;
    const value = await work();
    steps.finish(step, value, this.whole.statements !== before);
    return value;
  }

  async transaction<T>(steps: Steps, step: Step, work: () => Promise<T>): Promise<T> {
    const part = await this.transactions.open(this.attempt.leaseMs, this.watch);
    try {
      const value = await part.run(work);
      await part.commit();
      steps.finish(step, value, true);
      return value;
    } catch (error) {
      await part.rollback();
      throw error;
    }
  }

  async startEffect(): Promise<void> {
    throw new IdempotencyError(
      'IDEMPOTENCY_MISCONFIGURED',
      'once.effectStarted() has no meaning in an operation that runs in a transaction, and is undone with it. ' +
        "Move effects outside of the database into an operation with mode: 'lease' that no transaction is " +
        'around, or give them once.derive() as their key.',
    );
  }
}
