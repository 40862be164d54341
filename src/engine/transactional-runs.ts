import { answerOf, storeUnavailable } from './answers.js';
import { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { EscapeReport } from './escape-report.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import {
  claimRequest,
  type KeptOutcome,
  type Operation,
  type Outcome,
  type RunResult,
} from './operation.js';
import type { Recorder } from './recorder.js';
import { keyExpired, windowOf } from './retention.js';
import type { BeginResult, StoreTransaction } from './store.js';
import { KeepAlive } from './keep-alive.js';
import { jittered, pause, within } from './timing.js';
import { TransactionQueue, inProgress } from './transaction-queue.js';

/** Serialization failures and deadlocks: this often an attempt begins anew. */
const MOST_ATTEMPTS = 4;
const CONFLICT_PAUSE_MS = 20;

type Work = (attempt: Attempt) => Promise<Outcome>;

interface Begun {
  readonly attempt: Attempt;
  readonly transaction: StoreTransaction;
  readonly escapes: EscapeReport;
  /** The work failed because of others once more than it is run for that. */
  conflict?: unknown;
}

/** Operations whose effects and record are committed together, or not at all. */
export class TransactionalRuns {
  private readonly queue: TransactionQueue;

  constructor(
    private readonly options: EngineOptions,
    private readonly recorder: Recorder,
    stopping: AbortSignal,
  ) {
    this.queue = new TransactionQueue(stopping, () => this.isInside());
  }

  /** @throws IdempotencyError as `IdempotencyEngine.run`, and `…_TRANSACTION_BROKEN`, `…_TRANSACTION_CONFLICT` */
  run(operation: Operation, work: Work): Promise<RunResult> {
    return this.queue.join(
      operation,
      () => this.begin(operation),
      (begun) => this.perform(operation, begun, work),
    );
  }

  private async begin(
    operation: Operation,
  ): Promise<Begun | Exclude<BeginResult, { type: 'claimed' }>> {
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
    const request = claimRequest(operation, newOwner(), this.options.mask);
    const asked = Promise.resolve(failpoint('begin:before')).then(() =>
      transactions.begin(request, escapes.watch),
    );
    let result: BeginResult;
    try {
      result = await within(this.options.storeTimeoutMs, asked);
    } catch (error) {
      // it may be opened yet, and nobody would end it
      void asked.then(rollback, () => undefined);
      throw error instanceof IdempotencyError && error.code !== 'IDEMPOTENCY_STORE_UNAVAILABLE'
        ? error
        : storeUnavailable(error);
    }
    if (result.type !== 'claimed') {
      return result;
    }
    const expired = keyExpired(operation, result.now);
    if (expired !== undefined) {
      await result.transaction.rollback();
      throw expired;
    }
    const kept = windowOf(operation, result.now);
    const attempt = new Attempt(operation, request.owner, result, askedAt, kept);
    return { attempt, transaction: result.transaction, escapes };
  }

  private async perform(operation: Operation, begun: Begun, work: Work): Promise<RunResult> {
    for (let runs = 1; ; runs += 1) {
      const { attempt, transaction } = begun;
      // a part of a transaction cannot run again without the whole
      const isWhole = !this.isInside();
      const current = begun;
      attempt.runsAgain = (error) => {
        const isConflict = isWhole && transaction.isConflict(error);
        current.conflict = isConflict && runs === MOST_ATTEMPTS ? error : undefined;
        return isConflict && runs < MOST_ATTEMPTS;
      };
      attempt.undo = () => transaction.rollback();
      const result = await this.once(operation, begun, work);
      if (result !== 'again') {
        return result;
      }
      await pause(jittered(CONFLICT_PAUSE_MS * runs));
      const next = await this.begin(operation);
      if (!('transaction' in next)) {
        return this.answer(operation, next);
      }
      begun = next;
    }
  }

  private answer(operation: Operation, met: Exclude<BeginResult, { type: 'claimed' }>): RunResult {
    if (met.type === 'busy') {
      throw inProgress();
    }
    return answerOf(met.record, operation.fingerprint, met.now);
  }

  /** One transaction from its claim to its end. */
  private async once(operation: Operation, begun: Begun, work: Work): Promise<RunResult | 'again'> {
    const { attempt, transaction, escapes } = begun;
    const alive = this.isInside() ? undefined : new KeepAlive(attempt, transaction);
    try {
      await failpoint('begin:after');
      const outcome = await transaction.run(() => work(attempt));
      attempt.finish();
      if (outcome.type === 'complete' || outcome.type === 'tombstone') {
        if (outcome.failed !== true) {
          return await this.complete(operation, attempt, transaction, outcome, escapes);
        }
      }
      await transaction.rollback();
      if (outcome.type === 'again') {
        return 'again';
      }
      return await this.fail(operation, begun, outcome);
    } finally {
      alive?.stop();
      // does nothing where it has ended
      await transaction.rollback();
    }
  }

  /** The work is undone, unless it had committed by itself. */
  private async fail(
    operation: Operation,
    { attempt, transaction, escapes, conflict: lastConflict }: Begun,
    outcome: Exclude<Outcome, { type: 'again' }>,
  ): Promise<RunResult> {
    const isToKeep = outcome.type === 'complete' || outcome.type === 'tombstone';
    const isOurs = escapes.failure !== undefined || lastConflict !== undefined;
    if (isToKeep && !isOurs && !transaction.isLeft) {
      return this.keepFailure(operation, attempt, outcome);
    }
    const event = eventOf(operation, attempt);
    this.options.emit(transaction.isLeft ? 'onUncertain' : 'onReleased', event);
    escapes.check();
    if (lastConflict !== undefined) {
      throw conflict(lastConflict);
    }
    return { type: 'executed' };
  }

  private async complete(
    operation: Operation,
    attempt: Attempt,
    transaction: StoreTransaction,
    outcome: KeptOutcome,
    escapes: EscapeReport,
  ): Promise<RunResult | 'again'> {
    const result = outcome.type === 'complete' ? outcome.result : null;
    const { id, owner, ttlMs } = attempt;
    try {
      await failpoint('complete:before');
      const isWhole = await transaction.complete({ id, owner, result, ttlMs });
      escapes.check();
      if (!isWhole) {
        return await this.completeLeft(operation, attempt, result);
      }
    } catch (error) {
      await transaction.rollback();
      if (outcome.repeatable === true && attempt.runsAgain(error)) {
        return 'again';
      }
      throw broken(error, transaction);
    }
    try {
      await failpoint('commit:before');
      await within(this.options.storeTimeoutMs, transaction.commit());
      await failpoint('commit:after');
    } catch (error) {
      await transaction.abandon();
      if (!(await this.isCommitted(operation, attempt, error))) {
        if (outcome.repeatable === true && attempt.runsAgain(error)) {
          return 'again';
        }
        throw broken(error, transaction);
      }
    }
    const stored = outcome.type === 'complete';
    this.options.emit('onExecuted', { ...eventOf(operation, attempt), stored });
    return { type: 'executed' };
  }

  /** The work has committed by itself, and its record with it, as an uncertain one: the outcome is added. */
  private async completeLeft(
    operation: Operation,
    attempt: Attempt,
    result: Uint8Array | null,
  ): Promise<RunResult> {
    const { store, storeTimeoutMs, emit } = this.options;
    const { id, ttlMs } = attempt;
    const resolving = store.resolve(id, { result, ttlMs });
    if (await within(storeTimeoutMs, resolving).catch(() => false)) {
      emit('onExecuted', { ...eventOf(operation, attempt), stored: result !== null });
    } else {
      emit('onRecordingFailed', { ...eventOf(operation, attempt), final: true });
    }
    return { type: 'executed' };
  }

  /**
   * The answer to COMMIT is lost: claims the record anew, which waits for a commit that is still under way.
   * Whoever gets it knows that nothing was committed.
   */
  private async isCommitted(
    operation: Operation,
    attempt: Attempt,
    cause: unknown,
  ): Promise<boolean> {
    if (this.isInside()) {
      return false; // a part of a transaction, which will tell
    }
    const deadline = performance.now() + this.options.storeTimeoutMs;
    for (let delay = 10; performance.now() < deadline; delay = Math.min(delay * 2, 250)) {
      const met = await this.begin(operation).catch(() => undefined);
      if (met !== undefined && 'transaction' in met) {
        await met.transaction.rollback();
        return false;
      }
      if (met?.type === 'held') {
        return met.record.owner === attempt.owner;
      }
      await pause(jittered(delay));
    }
    throw new IdempotencyError(
      'IDEMPOTENCY_STORE_UNAVAILABLE',
      'The database went away while the request was being committed. Try again with the same key: the ' +
        'answer will be its outcome if it was committed, and it will run if it was not.',
      { cause, retryAfterSeconds: 1 },
    );
  }

  private isInside(): boolean {
    return this.options.store.transactions?.isInside() === true;
  }

  /** The effects are undone; the failure itself is the outcome to keep. */
  private async keepFailure(
    operation: Operation,
    attempt: Attempt,
    outcome: KeptOutcome,
  ): Promise<RunResult> {
    const { store, mask, storeTimeoutMs } = this.options;
    const request = claimRequest(operation, attempt.owner, mask);
    const claim = await within(storeTimeoutMs, store.claim(request)).catch(() => undefined);
    if (claim?.type !== 'claimed') {
      // somebody else is at it, or the store is away: nothing was done, and the failure is just an answer
      this.options.emit('onReleased', eventOf(operation, attempt));
      return { type: 'executed' };
    }
    return this.recorder.settle(operation, attempt, outcome);
  }
}

function rollback(result: BeginResult): void {
  if (result.type === 'claimed') {
    void result.transaction.rollback().catch(() => undefined);
  }
}

function eventOf({ handler, id }: Operation, { attempt }: Attempt) {
  return { handler, record: id, attempt };
}

function broken(cause: unknown, transaction: StoreTransaction): IdempotencyError {
  if (cause instanceof IdempotencyError) {
    return cause;
  }
  if (transaction.isConflict(cause)) {
    return conflict(cause);
  }
  if (!transaction.isRefusal(cause)) {
    return notCommitted(cause);
  }
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_BROKEN',
    'The handler succeeded, but its transaction could not be completed, and was rolled back. Let errors of ' +
      'the database reach the end of the handler: after one of them nothing can be committed.',
    { cause },
  );
}

function conflict(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_CONFLICT',
    'The request met another one that changed the same data, and was rolled back. Try again with the same key.',
    { cause, retryAfterSeconds: 1 },
  );
}

function notCommitted(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    'The request could not be committed, and nothing of it was kept. Try again with the same key.',
    { cause, retryAfterSeconds: 1 },
  );
}
