import { answerOf } from './answers.js';
import type { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import { encodeFailure } from './last-failure.js';
import type { KeptOutcome, Operation, Outcome, RunResult } from './operation.js';
import { claimAnew, giveBack, writeAsOwner } from './owner-write.js';
import type { Recorder } from './recorder.js';
import type { ClaimResult, StoreTransaction } from './store.js';
import { jittered, pause, within } from './timing.js';
import { broken, conflict } from './transaction-errors.js';
import { isMet } from './transaction-queue.js';
import type { Begun, TransactionalBegin } from './transactional-begin.js';

/** These say nothing of the work. */
const NOT_COUNTED = new Set([
  'IDEMPOTENCY_STORE_UNAVAILABLE',
  'IDEMPOTENCY_TRANSACTION_CONFLICT',
  'IDEMPOTENCY_IN_PROGRESS',
]);

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
    const ours =
      escapes.failure ?? (lastConflict === undefined ? undefined : conflict(lastConflict));
    if (ours !== undefined) {
      await this.giveUp(operation, begun, ours);
      if (!begun.isCounted && !transaction.isLeft) {
        this.options.emit('onReleased', attemptEvent(operation, attempt));
      }
      throw ours;
    }
    if (transaction.isLeft) {
      this.options.emit('onUncertain', attemptEvent(operation, attempt));
      return { type: 'executed' };
    }
    // undone, it must not be told as carried out: one that cannot be kept is forgotten
    if (outcome.type === 'complete') {
      return this.keepFailure(operation, begun, outcome);
    }
    await this.keepNewSteps(operation, begun);
    if (begun.isCounted) {
      return this.recorder.settle(operation, attempt, undone(outcome));
    }
    this.options.emit('onReleased', attemptEvent(operation, attempt));
    return { type: 'executed' };
  }

  /** The attempt has come to no outcome of its own, and is undone: what is left of it is its count. */
  async giveUp(operation: Operation, begun: Begun, error: unknown): Promise<void> {
    const { attempt, transaction } = begun;
    await this.keepNewSteps(operation, begun);
    if (transaction.isLeft) {
      this.options.emit('onUncertain', attemptEvent(operation, attempt));
    } else if (begun.isCounted) {
      const isOurs = error instanceof IdempotencyError && NOT_COUNTED.has(error.code);
      const outcome: Outcome =
        isOurs || begun.isLetGo === true
          ? { type: 'release', counted: false }
          : { type: 'release', failure: encodeFailure(error) };
      // the winner's outcome is for the next who comes
      await this.recorder.settle(operation, attempt, outcome).catch(() => undefined);
    }
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
    await failpoint('complete:after');
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
      const met = await this.opening.look(operation, attempt).catch(() => undefined);
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
  private async keepNewSteps(operation: Operation, begun: Begun): Promise<void> {
    const { attempt, transaction, steps, durable, isCounted } = begun;
    if (steps.durable <= durable || transaction.isLeft || this.opening.isInside()) {
      return;
    }
    const { store, storeTimeoutMs, emit } = this.options;
    const keep = () => store.keepSteps(attempt, steps.encode());
    try {
      if (isCounted) {
        const claim = () => claimAnew(this.options, operation, attempt);
        await within(storeTimeoutMs, writeAsOwner(keep, claim));
      } else if ((await this.claimAnew(operation, attempt)).type === 'claimed') {
        await within(storeTimeoutMs, keep());
        await within(storeTimeoutMs, store.release(attempt));
      }
    } catch {
      emit('onRecordingFailed', { ...attemptEvent(operation, attempt), final: true });
    }
  }

  /** The effects are undone; the failure itself is the outcome to keep. */
  private async keepFailure(
    operation: Operation,
    { attempt, isCounted }: Begun,
    outcome: KeptOutcome,
  ): Promise<RunResult> {
    if (isCounted) {
      return this.recorder.settle(operation, attempt, outcome);
    }
    const claim = await this.claimAnew(operation, attempt).catch(() => undefined);
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

  /** Its claim was undone with everything else. One that comes too late is given back. */
  private async claimAnew(operation: Operation, attempt: Attempt): Promise<ClaimResult> {
    const claiming = claimAnew(this.options, operation, attempt);
    try {
      return await within(this.options.storeTimeoutMs, claiming);
    } catch (error) {
      void giveBack(this.options, attempt, claiming);
      throw error;
    }
  }
}

/** What was undone is neither in doubt nor done. */
function undone(outcome: Outcome): Outcome {
  switch (outcome.type) {
    case 'uncertain':
      return { ...outcome, type: 'release' };
    case 'tombstone':
      return { type: 'release' };
    default:
      return outcome;
  }
}
