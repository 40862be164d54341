import { attemptLost } from './answers.js';
import type { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { failpoint } from './failpoints.js';
import { blocksUnknownOutcomes, type Operation } from './operation.js';
import type { Keeper } from './progress.js';
import { claimAnew, writeAsOwner } from './owner-write.js';
import { StepTransaction } from './step-transaction.js';
import type { Step, Steps } from './steps.js';
import type { SettleResult } from './store.js';
import { jittered, pause, within } from './timing.js';

const FIRST_REST_MS = 50;

/** Writes down what an attempt has done so far, while it owns its claim. */
export class StepKeeper implements Keeper {
  /** One write at a time: a slow one that was given up must not land on top of the next. */
  private lastWrite: Promise<unknown> = Promise.resolve();
  /** Which attempt the store believes this one to be: it counts every claim, also one made anew. */
  private count: number;
  /** A step may have been committed that this attempt does not know of, and what it writes would replace. */
  private isBehind = false;

  constructor(
    private readonly options: EngineOptions,
    private readonly operation: Operation,
    private readonly attempt: Attempt,
  ) {
    this.count = attempt.attempt;
  }

  /**
   * @throws what `work` throws; IdempotencyError `…_IN_PROGRESS` when the claim is lost, `…_STORE_UNAVAILABLE`,
   *   `…_MISCONFIGURED` inside of a transaction
   */
  async step<T>(steps: Steps, step: Step, work: () => Promise<T>): Promise<T> {
    this.checkOutside(`The step '${step.name}'`);
    const value = await work();
    steps.finish(step, value);
    try {
      await this.keep(steps);
    } catch (error) {
      // done, and nobody will know: where that must not be repeated, it is not
      this.attempt.effectBegun ||= blocksUnknownOutcomes(this.operation.policy);
      throw error;
    }
    return value;
  }

  /** @throws as `step()`; `…_TRANSACTION_BROKEN`, `…_TRANSACTION_CONFLICT`, `…_MISCONFIGURED` */
  async transaction<T>(steps: Steps, step: Step, work: () => Promise<T>): Promise<T> {
    this.checkOutside(`The step '${step.name}'`);
    const { options, operation, attempt } = this;
    const transaction = new StepTransaction(options, operation, attempt);
    const value = await transaction.run(work, (result, end) =>
      // nobody else's bytes may say that it is finished before it is
      this.inTurn(() =>
        end(steps.encode(step, result)).finally(() => {
          this.isBehind ||= transaction.isUnknown;
        }),
      ),
    );
    steps.finish(step, value);
    return value;
  }

  /** Resolves when every step finished so far is durable. */
  private async keep(steps: Steps): Promise<void> {
    await failpoint('step:before');
    const { store } = this.options;
    await this.note(() =>
      writeAsOwner(
        // the bytes of the moment: whatever was finished meanwhile is among them
        () => store.keepSteps(this.attempt, steps.encode()),
        () => this.claimAnew(),
      ),
    );
    await failpoint('step:after');
  }

  /** @throws as `keep()`; the effect must then not begin. */
  async startEffect(): Promise<void> {
    this.checkOutside('once.effectStarted()');
    await this.note(() => this.options.store.startEffect(this.attempt));
    await failpoint('effect:after');
  }

  /** What is written inside of somebody's transaction is durable only if that commits. */
  private checkOutside(what: string): void {
    if (this.options.store.transactions?.isInside() === true) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        `${what} was asked for inside of a transaction, and would be undone with it. Ask for it before the ` +
          'transaction begins, or after it has ended.',
      );
    }
  }

  private async note(write: () => Promise<SettleResult>): Promise<void> {
    const { applied } = await this.persistently(write);
    if (!applied) {
      throw this.lost();
    }
  }

  /** Tries again within the time that the store has to answer. */
  private async persistently(write: () => Promise<SettleResult>): Promise<SettleResult> {
    const deadline = performance.now() + this.options.storeTimeoutMs;
    let rest = FIRST_REST_MS;
    for (;;) {
      try {
        return await within(deadline - performance.now(), this.inTurn(write));
      } catch (error) {
        if (error instanceof IdempotencyError && error.code !== 'IDEMPOTENCY_STORE_UNAVAILABLE') {
          throw error;
        }
        if (performance.now() + rest >= deadline) {
          throw notRecorded(error);
        }
      }
      await pause(jittered(rest));
      rest *= 2;
    }
  }

  private inTurn<T>(write: () => Promise<T>): Promise<T> {
    const written = this.lastWrite.then(() => {
      if (this.isBehind) {
        throw attemptLost();
      }
      return write();
    });
    this.lastWrite = written.catch(() => undefined);
    return written;
  }

  /** Only if nobody else has had the key in between, whose steps these would take the place of. */
  private async claimAnew(): Promise<void> {
    const { attempt, options, operation } = this;
    if (attempt.isOver) {
      throw this.lost();
    }
    const answer = await claimAnew(options, operation, attempt);
    if (answer.type === 'held') {
      return; // the next write is told by whom
    }
    if (attempt.isOver || answer.attempt > this.count + 1) {
      // whatever comes of it: tried again, the write would find the claim its own
      await options.store.release(attempt).catch(() => undefined);
      throw this.lost();
    }
    this.count = answer.attempt;
  }

  private lost(): IdempotencyError {
    this.attempt.lose('The lease was lost to another attempt.');
    return attemptLost();
  }
}

function notRecorded(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    'What the request has done so far could not be recorded, and so it was not taken further. Try again ' +
      'with the same key.',
    { cause: cause instanceof IdempotencyError ? cause.cause : cause, retryAfterSeconds: 1 },
  );
}
