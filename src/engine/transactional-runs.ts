import { answerOf, inProgress } from './answers.js';
import type { Attempt } from './attempt.js';
import { MOST_RUNS, pauseAfter } from './conflict-runs.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import { KeepAlive } from './keep-alive.js';
import type { Operation, Outcome, RunResult } from './operation.js';
import type { Recorder } from './recorder.js';
import type { RunningOperations } from './running-operations.js';
import { TransactionQueue, isMet, type Met } from './transaction-queue.js';
import { TransactionalBegin, type Begun } from './transactional-begin.js';
import { TransactionalEnd } from './transactional-end.js';

type Work = (attempt: Attempt) => Promise<Outcome>;

/** Operations whose effects and record are committed together, or not at all. */
export class TransactionalRuns {
  private readonly opening: TransactionalBegin;
  private readonly ending: TransactionalEnd;
  private readonly queue: TransactionQueue;

  constructor(
    private readonly options: EngineOptions,
    recorder: Recorder,
    private readonly running: RunningOperations,
    closing: AbortSignal,
  ) {
    this.opening = new TransactionalBegin(options);
    this.ending = new TransactionalEnd(options, recorder, this.opening);
    this.queue = new TransactionQueue(closing, options.emit, () => this.opening.isInside());
  }

  /** @throws IdempotencyError as `IdempotencyEngine.run`, and `…_TRANSACTION_BROKEN`, `…_TRANSACTION_CONFLICT` */
  run(operation: Operation, work: Work): Promise<RunResult> {
    return this.queue.join(
      operation,
      () => this.opening.beginOrSettle(operation),
      (begun) => this.perform(operation, begun, work),
    );
  }

  private async perform(operation: Operation, begun: Begun, work: Work): Promise<RunResult> {
    for (let runs = 1; ; runs += 1) {
      const { attempt, transaction } = begun;
      // a part of a transaction cannot run again without the whole
      const isWhole = !this.opening.isInside();
      const current = begun;
      attempt.runsAgain = (error) => {
        const isConflict = isWhole && transaction.isConflict(error);
        current.conflict = isConflict && runs === MOST_RUNS ? error : undefined;
        return isConflict && runs < MOST_RUNS;
      };
      attempt.undo = () => transaction.rollback();
      const result = await this.once(operation, begun, work);
      if (result !== 'again') {
        return result;
      }
      await pauseAfter(runs);
      const { steps, durable } = begun;
      const carried = steps.durable > 0 ? steps.encode() : undefined;
      const { owner } = attempt;
      const next = await this.opening
        .begin(operation, { owner, steps: carried })
        .catch(async (error: unknown) => {
          await this.ending.giveUp(operation, begun, error);
          throw error;
        });
      if (isMet(next)) {
        await this.ending.giveUp(operation, begun, inProgress());
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
    const { attempt, transaction } = begun;
    let concluded: ReturnType<Attempt['progress']['conclude']>;
    const leave = this.running.enter((reason, isItsFault) => {
      begun.isLetGo = !isItsFault;
      attempt.lose(reason);
      void transaction.rollback();
    });
    const alive = this.opening.isInside() ? undefined : new KeepAlive(attempt, transaction);
    try {
      await failpoint('begin:after');
      const working = transaction.run(() => work(attempt));
      const ended = await (this.opening.isInside()
        ? working
        : Promise.race([working, this.givenUp(operation, attempt)]));
      attempt.finish();
      concluded = attempt.progress.conclude(ended);
      const { outcome } = concluded;
      if (outcome.type === 'complete' || outcome.type === 'tombstone') {
        if (outcome.returned === true) {
          return await this.ending.complete(operation, begun, outcome);
        }
      }
    } catch (error) {
      await transaction.rollback();
      await this.ending.giveUp(operation, begun, error);
      throw error;
    } finally {
      alive?.stop();
      leave();
      // does nothing where it has ended
      await transaction.rollback();
    }
    const { outcome, problem } = concluded;
    if (outcome.type === 'again') {
      return 'again';
    }
    const result = await this.ending.fail(operation, begun, outcome);
    if (problem !== undefined && result.type === 'executed') {
      throw problem;
    }
    return result;
  }

  /** Work that does not end must not keep its key: what it still does is refused. */
  private givenUp(operation: Operation, attempt: Attempt): Promise<never> {
    return new Promise((_, reject) => {
      attempt.onLost = ({ message }) => {
        this.options.emit('onLeaseLost', attemptEvent(operation, attempt));
        reject(
          new IdempotencyError(
            'IDEMPOTENCY_TRANSACTION_BROKEN',
            `${message} It was rolled back, and nothing of it was kept. Try again with the same key.`,
          ),
        );
      };
    });
  }
}
