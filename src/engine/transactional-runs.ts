import { answerOf, checkSameRequest, storeUnavailable } from './answers.js';
import { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { EscapeReport } from './escape-report.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import { windowOf } from './key-time.js';
import {
  claimRequest,
  type KeptOutcome,
  type Operation,
  type Outcome,
  type RunResult,
} from './operation.js';
import type { Recorder } from './recorder.js';
import { keyExpired } from './retention.js';
import type { BeginResult, StoreTransaction } from './store.js';
import type { RunningOperations } from './running-operations.js';
import { broken, conflict } from './transaction-errors.js';
import { KeepAlive } from './keep-alive.js';
import { Steps } from './steps.js';
import { TransactionalKeeper } from './transactional-keeper.js';
import { jittered, pause, within } from './timing.js';
import { TransactionQueue, inProgress, isMet, type Met } from './transaction-queue.js';
import { settleUnknown } from './unknown-outcome.js';

/** Serialization failures and deadlocks: this often an attempt begins anew. */
const MOST_ATTEMPTS = 4;
const CONFLICT_PAUSE_MS = 20;

type Work = (attempt: Attempt) => Promise<Outcome>;

interface Begun {
  readonly attempt: Attempt;
  readonly transaction: StoreTransaction;
  readonly escapes: EscapeReport;
  readonly steps: Steps;
  /** Of how many steps the record knows. */
  readonly durable: number;
  /** The work failed because of others once more than it is run for that. */
  conflict?: unknown;
}

/** Operations whose effects and record are committed together, or not at all. */
export class TransactionalRuns {
  private readonly queue: TransactionQueue;

  constructor(
    private readonly options: EngineOptions,
    private readonly recorder: Recorder,
    private readonly running: RunningOperations,
    closing: AbortSignal,
  ) {
    this.queue = new TransactionQueue(closing, () => this.isInside());
  }

  /** @throws IdempotencyError as `IdempotencyEngine.run`, and `…_TRANSACTION_BROKEN`, `…_TRANSACTION_CONFLICT` */
  run(operation: Operation, work: Work): Promise<RunResult> {
    return this.queue.join(
      operation,
      () => this.beginOrSettle(operation),
      (begun) => this.perform(operation, begun, work),
    );
  }

  /** What a transaction committed before its end is uncertain, and settled as its operation chose. */
  private async beginOrSettle(operation: Operation): Promise<Begun | Met> {
    const met = await this.begin(operation);
    if (!isMet(met) || met.type === 'busy' || met.record.state !== 'uncertain') {
      return met;
    }
    checkSameRequest(met.record.fingerprint, operation.fingerprint);
    const ttlMs = windowOf(operation.identity.key, operation.policy.ttlMs, met.now);
    const isSettled = await settleUnknown(this.options, operation, met.record, ttlMs);
    return isSettled ? this.begin(operation) : met;
  }

  /** @param carried the steps of a run before that met a conflict */
  private async begin(operation: Operation, carried?: Uint8Array): Promise<Begun | Met> {
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
    const { transaction, now } = result;
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
      return { attempt, transaction, escapes, steps, durable };
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
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
      const { steps, durable } = begun;
      const next = await this.begin(operation, steps.durable > 0 ? steps.encode() : undefined);
      if (isMet(next)) {
        return this.answer(operation, next);
      }
      begun = { ...next, durable };
    }
  }

  private answer(operation: Operation, met: Met): RunResult {
    if (met.type === 'busy') {
      throw inProgress();
    }
    return answerOf(met.record, operation.fingerprint, met.now);
  }

  /** One transaction from its claim to its end. */
  private async once(operation: Operation, begun: Begun, work: Work): Promise<RunResult | 'again'> {
    const { attempt, transaction, escapes } = begun;
    const leave = this.running.enter(() => {
      attempt.lose('The application is shutting down.');
      void transaction.rollback();
    });
    const alive = this.isInside() ? undefined : new KeepAlive(attempt, transaction);
    try {
      await failpoint('begin:after');
      const ended = await transaction.run(() => work(attempt));
      attempt.finish();
      const { outcome, problem } = attempt.progress.conclude(ended);
      if (outcome.type === 'complete' || outcome.type === 'tombstone') {
        if (outcome.returned === true) {
          return await this.complete(operation, attempt, transaction, outcome, escapes);
        }
      }
      await transaction.rollback();
      if (outcome.type === 'again') {
        return 'again';
      }
      const result = await this.fail(operation, begun, outcome);
      if (problem !== undefined && result.type === 'executed') {
        throw problem;
      }
      return result;
    } finally {
      alive?.stop();
      leave();
      // does nothing where it has ended
      await transaction.rollback();
    }
  }

  /** The work is undone, unless it had committed by itself. */
  private async fail(
    operation: Operation,
    { attempt, transaction, escapes, steps, durable, conflict: lastConflict }: Begun,
    outcome: Exclude<Outcome, { type: 'again' }>,
  ): Promise<RunResult> {
    const isToKeep = outcome.type === 'complete' || outcome.type === 'tombstone';
    const isOurs = escapes.failure !== undefined || lastConflict !== undefined;
    if (isToKeep && !isOurs && !transaction.isLeft) {
      return this.keepFailure(operation, attempt, outcome);
    }
    if (steps.durable > durable && !transaction.isLeft && !this.isInside()) {
      await this.keepSteps(operation, attempt, steps);
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
      if (!(await this.isCommitted(operation, attempt, transaction, error))) {
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
    const { id, owner, ttlMs } = attempt;
    const resolving = store.resolve(id, { result, ttlMs }, owner);
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
    transaction: StoreTransaction,
    cause: unknown,
  ): Promise<boolean> {
    if (transaction.isRefusal(cause)) {
      return false; // the database said so
    }
    await transaction.abandon();
    if (this.isInside()) {
      return false; // a part of a transaction, which will tell
    }
    const deadline = performance.now() + this.options.storeTimeoutMs;
    for (let delay = 10; performance.now() < deadline; delay = Math.min(delay * 2, 250)) {
      const met = await this.begin(operation).catch(() => undefined);
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
  private async keepSteps(operation: Operation, attempt: Attempt, steps: Steps): Promise<void> {
    const { store, mask, storeTimeoutMs, emit } = this.options;
    const request = claimRequest(operation, attempt.owner, mask);
    const keep = async (): Promise<void> => {
      if ((await store.claim(request)).type === 'claimed') {
        await store.keepSteps(request, steps.encode());
        await store.release(request);
      }
    };
    await within(storeTimeoutMs, keep()).catch(() =>
      emit('onRecordingFailed', { ...eventOf(operation, attempt), final: true }),
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
