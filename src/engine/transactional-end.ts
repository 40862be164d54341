import { answerOf } from './answers.js';
import type { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import type { KeptOutcome, Operation, Outcome, ReleasedOutcome, RunResult } from './operation.js';
import { claimAnew } from './owner-write.js';
import type { Recorder } from './recorder.js';
import type { StoreTransaction } from './store.js';
import { jittered, pause, within } from './timing.js';
import { broken, conflict } from './transaction-errors.js';
import { isMet } from './transaction-queue.js';
import type { Begun, TransactionalBegin } from './transactional-begin.js';

/** Ends the transactions of attempts: their effects and their outcome stand, or neither does. */
export class TransactionalEnd {
  constructor(
    private readonly options: EngineOptions,
    private readonly recorder: Recorder,
    private readonly opening: TransactionalBegin,
  ) {}

  /** The work is undone, unless it had committed by itself. */
  async fail(
    operation: Operation,
    begun: Begun,
    outcome: Exclude<Outcome, { type: 'again' }>,
  ): Promise<RunResult> {
    const { attempt, transaction, escapes, conflict: lastConflict } = begun;
    // undone, it must not be told as carried out: one that cannot be kept is forgotten
    const isToKeep = outcome.type === 'complete';
    const isOurs = escapes.failure !== undefined || lastConflict !== undefined;
    if (isToKeep && !isOurs && !transaction.isLeft) {
      return this.keepFailure(operation, attempt, outcome);
    }
    if (this.isToCount(operation, begun, outcome) && !isOurs) {
      return this.countFailure(operation, begun, outcome);
    }
    await this.keepNewSteps(operation, begun);
    const event = attemptEvent(operation, attempt);
    this.options.emit(transaction.isLeft ? 'onUncertain' : 'onReleased', event);
    escapes.check();
    if (lastConflict !== undefined) {
      throw conflict(lastConflict);
    }
    return { type: 'executed' };
  }

  async complete(
    operation: Operation,
    { attempt, transaction, escapes }: Begun,
    outcome: KeptOutcome,
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
      if (!(await this.isCommitted(operation, attempt, transaction, error))) {
        if (outcome.repeatable === true && attempt.runsAgain(error)) {
          return 'again';
        }
        throw broken(error, transaction);
      }
    }
    const stored = outcome.type === 'complete';
    this.options.emit('onExecuted', { ...attemptEvent(operation, attempt), stored });
    return { type: 'executed' };
  }

  /** The work has committed by itself, and its record with it, as an uncertain one: the outcome is added. */
  private async completeLeft(
    operation: Operation,
    attempt: Attempt,
    result: Uint8Array | null,
  ): Promise<RunResult> {
    const { store, storeTimeoutMs, emit } = this.options;
    const { id, owner, ttlMs } = attempt;
    const resolving = store.resolve(id, { result, ttlMs }, owner);
    if (await within(storeTimeoutMs, resolving).catch(() => false)) {
      emit('onExecuted', { ...attemptEvent(operation, attempt), stored: result !== null });
    } else {
      emit('onRecordingFailed', { ...attemptEvent(operation, attempt), final: true });
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
    transaction: StoreTransaction,
    cause: unknown,
  ): Promise<boolean> {
    if (transaction.isRefusal(cause)) {
      return false; // the database said so
    }
    await transaction.abandon();
    if (this.opening.isInside()) {
      return false; // a part of a transaction, which will tell
    }
    const deadline = performance.now() + this.options.storeTimeoutMs;
    for (let delay = 10; performance.now() < deadline; delay = Math.min(delay * 2, 250)) {
      const met = await this.opening.begin(operation).catch(() => undefined);
      if (met !== undefined && !isMet(met)) {
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

  /** What was done outside of the database has happened, although its attempt has not. */
  async keepNewSteps(
    operation: Operation,
    { attempt, transaction, steps, durable }: Begun,
  ): Promise<void> {
    if (steps.durable <= durable || transaction.isLeft || this.opening.isInside()) {
      return;
    }
    const { store, storeTimeoutMs, emit } = this.options;
    const keep = async (): Promise<void> => {
      if ((await claimAnew(this.options, operation, attempt)).type === 'claimed') {
        await store.keepSteps(attempt, steps.encode());
        await store.release(attempt);
      }
    };
    await within(storeTimeoutMs, keep()).catch(() =>
      emit('onRecordingFailed', { ...attemptEvent(operation, attempt), final: true }),
    );
  }

  /** What is around a part decides about it, and what committed by itself has not failed. */
  private isToCount(
    { policy }: Operation,
    { transaction }: Begun,
    outcome: Outcome,
  ): outcome is ReleasedOutcome {
    const isUndone = !transaction.isLeft && !this.opening.isInside();
    return (
      policy.attempts !== undefined &&
      isUndone &&
      outcome.type === 'release' &&
      outcome.counted !== false
    );
  }

  /** The start of the attempt was undone with everything else, so that it is claimed anew to be counted. */
  private async countFailure(
    operation: Operation,
    { attempt, steps, durable }: Begun,
    outcome: ReleasedOutcome,
  ): Promise<RunResult> {
    const { store, storeTimeoutMs, emit } = this.options;
    const claim = async (): Promise<boolean> => {
      const isOurs = (await claimAnew(this.options, operation, attempt)).type === 'claimed';
      if (isOurs && steps.durable > durable) {
        await store.keepSteps(attempt, steps.encode());
      }
      return isOurs;
    };
    try {
      if (await within(storeTimeoutMs, claim())) {
        return await this.recorder.settle(operation, attempt, outcome);
      }
    } catch {
      emit('onRecordingFailed', { ...attemptEvent(operation, attempt), final: true });
    }
    emit('onReleased', attemptEvent(operation, attempt));
    return { type: 'executed' };
  }

  /** The effects are undone; the failure itself is the outcome to keep. */
  private async keepFailure(
    operation: Operation,
    attempt: Attempt,
    outcome: KeptOutcome,
  ): Promise<RunResult> {
    const claiming = claimAnew(this.options, operation, attempt);
    const claim = await within(this.options.storeTimeoutMs, claiming).catch(() => undefined);
    if (claim?.type === 'held' && claim.record.state === 'completed') {
      return answerOf(claim.record, operation.fingerprint, claim.now);
    }
    if (claim?.type !== 'claimed') {
      // somebody else is at it, or the store is away: nothing was done, and the failure is just an answer
      this.options.emit('onReleased', attemptEvent(operation, attempt));
      return { type: 'executed' };
    }
    return this.recorder.settle(operation, attempt, outcome);
  }
}
