import { attemptLost } from './answers.js';
import type { Attempt } from './attempt.js';
import { MOST_RUNS, pauseAfter } from './conflict-runs.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { EscapeReport } from './escape-report.js';
import { failpoint } from './failpoints.js';
import { KeepAlive } from './keep-alive.js';
import type { Operation } from './operation.js';
import { claimAnew } from './owner-write.js';
import type { StoreTransaction, StoreTransactions } from './store.js';
import { within } from './timing.js';
import { broken } from './transaction-errors.js';

/** Keeps the steps as the last statement of the transaction, and commits it. */
type End = (steps: Uint8Array) => Promise<void>;

/** One step whose database work and result commit together, while its attempt owns its claim. */
export class StepTransaction {
  /** It may have been committed, and nobody could say. */
  isUnknown = false;

  constructor(
    private readonly options: EngineOptions,
    private readonly operation: Operation,
    private readonly attempt: Attempt,
  ) {}

  /** @param conclude is given the result and how to end the transaction with the steps that include it */
  async run<T>(
    work: () => Promise<T>,
    conclude: (value: T, end: End) => Promise<void>,
  ): Promise<T> {
    for (let runs = 1; ; runs += 1) {
      const escapes = new EscapeReport(this.operation, this.options.emit);
      const transaction = await this.open(escapes);
      const alive = new KeepAlive(this.attempt, transaction, 'step');
      try {
        const value = await transaction.run(work);
        await conclude(value, (steps) => this.end(transaction, steps, escapes));
        return value;
      } catch (error) {
        await transaction.rollback();
        // done by itself, and nobody will know which step it was
        this.attempt.effectBegun ||= transaction.isLeft;
        const mayRunAgain = runs < MOST_RUNS && !transaction.isLeft;
        if (!mayRunAgain || !transaction.isConflict(causeOf(error))) {
          throw error;
        }
      } finally {
        alive.stop();
      }
      await pauseAfter(runs);
    }
  }

  private open(escapes: EscapeReport): Promise<StoreTransaction> {
    return this.transactions().open(this.attempt.leaseMs, escapes.watch);
  }

  private transactions(): StoreTransactions {
    const { transactions, name } = this.options.store;
    if (transactions === undefined) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        `The ${name} store has no transactions that a step could be part of. Use typeOrmStore(), or once.step().`,
      );
    }
    return transactions;
  }

  private async end(
    transaction: StoreTransaction,
    steps: Uint8Array,
    escapes: EscapeReport,
  ): Promise<void> {
    await failpoint('step:before');
    const kept = await transaction.keepSteps(this.attempt, steps).catch((error: unknown) => {
      throw broken(error, transaction);
    });
    if (kept === 'left') {
      return this.keepLeft(steps);
    }
    escapes.check();
    if (kept === 'lost') {
      throw this.lost();
    }
    await this.commit(transaction, steps);
    await failpoint('step:after');
  }

  /** The step has committed by itself: it is written down after the fact, or nobody will know. */
  private async keepLeft(steps: Uint8Array): Promise<void> {
    const { store, storeTimeoutMs } = this.options;
    const { applied } = await within(storeTimeoutMs, store.keepSteps(this.attempt, steps));
    if (!applied) {
      throw this.lost();
    }
  }

  private lost(): IdempotencyError {
    this.attempt.lose('The lease was lost to another attempt.');
    return attemptLost();
  }

  private async commit(transaction: StoreTransaction, steps: Uint8Array): Promise<void> {
    const { storeTimeoutMs } = this.options;
    try {
      await failpoint('commit:before');
      await within(storeTimeoutMs, transaction.commit());
    } catch (error) {
      if (transaction.isRefusal(error)) {
        throw broken(error, transaction);
      }
      await transaction.abandon();
      if (!(await this.isCommitted(steps))) {
        throw broken(error, transaction);
      }
    }
    await failpoint('commit:after');
  }

  /** The answer to COMMIT is lost. A renewal waits for one that is still under way; then the record tells. */
  private async isCommitted(steps: Uint8Array): Promise<boolean> {
    const { store, storeTimeoutMs } = this.options;
    const { id, owner, leaseMs } = this.attempt;
    try {
      await within(storeTimeoutMs, store.renew([{ id, owner }], leaseMs));
      const claim = claimAnew(this.options, this.operation, this.attempt);
      const met = await within(storeTimeoutMs, claim);
      if (met.type === 'claimed') {
        const isCommitted = met.steps !== null && Buffer.compare(met.steps, steps) === 0;
        if (isCommitted || met.attempt === this.attempt.attempt) {
          return isCommitted;
        }
        // somebody has had the key in between, whose steps must not be replaced
        await within(storeTimeoutMs, store.release({ id, owner }));
      }
    } catch (error) {
      this.isUnknown = true;
      this.attempt.lose('It is not known whether a step of it was committed.');
      throw commitUnknown(error);
    }
    throw this.lost();
  }
}

function commitUnknown(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    'The database went away while a step of the request was being committed, and it is not known whether it ' +
      'was. The request was not taken further. Try again with the same key: the step will run if it was not.',
    { cause, retryAfterSeconds: 1 },
  );
}

/** What the database said, where it is wrapped into an error of ours. */
function causeOf(error: unknown): unknown {
  return error instanceof IdempotencyError ? error.cause : error;
}
