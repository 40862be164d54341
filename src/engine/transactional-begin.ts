import { storeUnavailable } from './answers.js';
import { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { EscapeReport } from './escape-report.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import { refuseAtLimit } from './key-limit.js';
import { windowOf } from './key-time.js';
import { claimRequest, type Operation } from './operation.js';
import { keyExpired } from './retention.js';
import { Steps } from './steps.js';
import type { BeginResult, StoreTransaction } from './store.js';
import { within } from './timing.js';
import { isExhausted, parkUnrun } from './exhausted.js';
import { giveBack } from './owner-write.js';
import { isMet, type Met } from './transaction-queue.js';
import { TransactionalKeeper } from './transactional-keeper.js';
import { settleUnknown } from './unknown-outcome.js';

/** An attempt in its open transaction. */
export interface Begun {
  readonly attempt: Attempt;
  readonly transaction: StoreTransaction;
  readonly escapes: EscapeReport;
  readonly steps: Steps;
  /** Of how many steps the record knows. */
  readonly durable: number;
  /** The work failed because of others once more than it is run for that. */
  conflict?: unknown;
  /** Its start is kept, whatever becomes of the transaction: its owner has to settle it. */
  readonly isCounted: boolean;
  /** Nobody waits for it any longer, which is no fault of its own. */
  isLetGo?: boolean;
}

/** Opens the transactions of attempts. */
export class TransactionalBegin {
  constructor(private readonly options: EngineOptions) {}

  /** Whether the running code is inside of a transaction already, of which everything becomes a part. */
  isInside(): boolean {
    return this.options.store.transactions?.isInside() === true;
  }

  /** What a transaction committed before its end is uncertain, and settled as its operation chose. */
  async beginOrSettle(operation: Operation): Promise<Begun | Met> {
    if (!this.isInside()) await refuseAtLimit(this.options, operation);
    const met = await this.begin(operation);
    if (!isMet(met) && met.isCounted && isExhausted(operation, met.attempt)) {
      await met.transaction.rollback();
      return parkUnrun(this.options, operation, met.attempt);
    }
    if (!isMet(met) || met.type === 'busy' || met.record.state !== 'uncertain') {
      return met;
    }
    return (await settleUnknown(this.options, operation, met)) ? this.begin(operation) : met;
  }

  /**
   * Begins an attempt, or its next run.
   *
   * @param again the run before, which met a conflict
   */
  async begin(
    operation: Operation,
    again?: { readonly owner: string; readonly steps: Uint8Array | undefined },
  ): Promise<Begun | Met> {
    const isCounted = operation.policy.attempts !== undefined && !this.isInside();
    const owner = again?.owner ?? newOwner();
    return this.open(operation, owner, isCounted, again?.steps);
  }

  /** What is found where the transaction of this attempt was, or a transaction in its place. */
  look(operation: Operation, { owner }: Attempt): Promise<Begun | Met> {
    return this.open(operation, owner, false);
  }

  private async open(
    operation: Operation,
    owner: string,
    isCounted: boolean,
    carried?: Uint8Array,
  ): Promise<Begun | Met> {
    const { transactions } = this.options.store;
    if (transactions === undefined) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        `${operation.handler}: the ${this.options.store.name} store has no transactions that the work ` +
          "could be part of. Use typeOrmStore(), or mode: 'lease'.",
      );
    }
    const escapes = new EscapeReport(operation, this.options.emit);
    const askedAt = performance.now();
    const request = claimRequest(operation, owner, this.options.mask);
    const asked = Promise.resolve(failpoint('begin:before')).then(() =>
      transactions.begin({ ...request, keepStart: isCounted }, escapes.watch),
    );
    const forget = async (undone?: Promise<unknown>): Promise<void> =>
      isCounted ? giveBack(this.options, request, undone) : undefined;
    let result: BeginResult;
    try {
      result = await within(this.options.storeTimeoutMs, asked);
    } catch (error) {
      // it may be opened yet, and nobody would end it
      void forget(asked.then(rollback, () => undefined));
      throw error instanceof IdempotencyError && error.code !== 'IDEMPOTENCY_STORE_UNAVAILABLE'
        ? error
        : storeUnavailable(error);
    }
    if (result.type !== 'claimed') {
      return result;
    }
    const { transaction, now } = result;
    if (isCounted && result.takenOver) {
      this.options.emit('onTakenOver', attemptEvent(operation, result));
    }
    try {
      const expired = keyExpired(operation, now);
      if (expired !== undefined) {
        throw expired;
      }
      const { fingerprint, policy } = operation;
      const steps = Steps.decode(carried ?? result.steps, fingerprint, policy.maxResultBytes);
      const { durable } = steps;
      const attempt = new Attempt(
        operation,
        request.owner,
        result,
        askedAt,
        windowOf(operation.identity.key, policy.ttlMs, now),
        steps,
        (own) => new TransactionalKeeper(transactions, transaction, own, escapes.watch),
      );
      return { attempt, transaction, escapes, steps, durable, isCounted };
    } catch (error) {
      await transaction.rollback();
      await forget();
      throw error;
    }
  }
}

async function rollback(result: BeginResult): Promise<void> {
  if (result.type === 'claimed') {
    await result.transaction.rollback().catch(() => undefined);
  }
}
