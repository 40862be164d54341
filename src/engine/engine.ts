import { setMaxListeners } from 'node:events';
import { storeUnavailable } from './answers.js';
import { Attempt } from './attempt.js';
import { BatchRuns, type BatchResult, type Fresh } from './batch-runs.js';
import { Claimer } from './claimer.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import { LeaseKeeper } from './lease-keeper.js';
import type { Operation, Outcome, RunResult } from './operation.js';
import type { OutgoingMessages } from './outgoing.js';
import { Recorder } from './recorder.js';
import { RunningOperations } from './running-operations.js';
import type { Claim, IdempotencyStore } from './store.js';
import { watchedBatch, watchedRun } from './telemetry.js';
import { TransactionalRuns } from './transactional-runs.js';
import { WaitingRoom } from './waiting-room.js';

/**
 * The protocol: claim, run, renew, settle, replay, wait. An entry point gives it an operation and a
 * function to run; the engine runs the function at most once per outcome, and answers with the one
 * outcome that was recorded.
 */
export class IdempotencyEngine {
  readonly store: IdempotencyStore;
  /** Where the messages of operations are written, if anywhere. */
  outgoing: OutgoingMessages | undefined;
  private readonly leases: LeaseKeeper;
  private readonly waitingRoom: WaitingRoom;
  private readonly claimer: Claimer;
  private readonly recorder: Recorder;
  private readonly batches: BatchRuns;
  private readonly transactional: TransactionalRuns;
  private readonly running = new RunningOperations();
  private readonly closing = new AbortController();
  private readonly stopping = new AbortController();
  private ready: Promise<void> | undefined;

  constructor(private readonly options: EngineOptions) {
    this.store = options.store;
    this.leases = new LeaseKeeper(options.store, options.storeTimeoutMs);
    this.waitingRoom = new WaitingRoom(options.store, options.storeTimeoutMs);
    this.claimer = new Claimer(options, this.waitingRoom, this.closing.signal);
    this.recorder = new Recorder(options, this.leases, this.running, this.stopping.signal);
    this.batches = new BatchRuns(options, this.claimer, this.recorder, this.leases, this.running);
    this.transactional = new TransactionalRuns(
      options,
      this.recorder,
      this.running,
      this.closing.signal,
    );
    // every outcome that could not be recorded yet listens, and everybody who waits
    setMaxListeners(0, this.stopping.signal, this.closing.signal);
  }

  /** Checks the store. Safe to call more than once; nothing is claimed before it has succeeded. */
  start(): Promise<void> {
    this.ready ??= this.store.init();
    return this.ready;
  }

  /** From now on nothing new is claimed, and nobody waits any longer. What runs goes on. */
  close(): void {
    this.closing.abort();
    this.waitingRoom.callAll();
  }

  /**
   * Waits until nothing runs any more, while leases are renewed. After `ms` what still runs is let go: its
   * signal aborts, its lease runs out, and its transaction is rolled back.
   */
  async drain(ms: number): Promise<void> {
    this.close();
    await this.running.end(ms);
  }

  /**
   * For tests: as if this process had been silent for longer than its leases. Answers how many operations that hit, and
   * the claims that the store has yet to give up.
   */
  loseLeases(): { readonly operations: number; readonly claims: readonly Claim[] } {
    const { claims } = this.leases;
    return { claims, operations: this.running.letGo('The lease was lost.', true) };
  }

  /** Ends every timer. Running operations may still settle. */
  stop(): void {
    this.close();
    this.stopping.abort();
    this.leases.stop();
  }

  /**
   * Runs `work` unless the operation has an outcome already.
   *
   * @throws IdempotencyError when nothing was run: `…_KEY_REUSED`, `…_IN_PROGRESS`, `…_KEY_EXPIRED`,
   *   `…_OUTCOME_UNCERTAIN`, `…_RESULT_UNAVAILABLE`, `…_RECORD_UNREADABLE`, `…_STORE_UNAVAILABLE`;
   *   and when `work` ran but lost its claim to an attempt that is still running.
   */
  async run(
    operation: Operation,
    work: (attempt: Attempt) => Promise<Outcome>,
  ): Promise<RunResult> {
    if (this.closing.signal.aborted && operation.isInner !== true) {
      const error = shuttingDown();
      this.reject(operation, error);
      throw error;
    }
    const { telemetry } = this.options;
    const run = (inner: typeof work) =>
      this.runOpen(operation, (attempt) => {
        attempt.outgoing = this.outgoing;
        return inner(attempt);
      });
    const leave = this.running.enter();
    try {
      return await (telemetry === undefined
        ? run(work)
        : watchedRun(telemetry, operation, work, run));
    } finally {
      leave();
    }
  }

  /**
   * Runs `work` once for all of these operations that have no outcome yet. Their records must differ, and none may
   * be transactional, or inside of a transaction.
   *
   * @throws IdempotencyError as `run()`
   */
  async runBatch(
    operations: readonly Operation[],
    work: (fresh: readonly Fresh[]) => Promise<readonly Outcome[]>,
  ): Promise<BatchResult[]> {
    const [first] = operations;
    if (first === undefined) {
      return [];
    }
    if (this.closing.signal.aborted && first.isInner !== true) {
      throw shuttingDown();
    }
    const { telemetry } = this.options;
    const run = (inner: typeof work) =>
      this.batches.run(operations, (fresh) => {
        for (const { attempt } of fresh) {
          attempt.outgoing = this.outgoing;
        }
        return inner(fresh);
      });
    const leave = this.running.enter();
    try {
      await this.ensureReady();
      return await (telemetry === undefined
        ? run(work)
        : watchedBatch(telemetry, first, work, run));
    } finally {
      leave();
      operations.forEach(({ id }) => this.waitingRoom.call(id));
    }
  }

  private async runOpen(
    operation: Operation,
    work: (attempt: Attempt) => Promise<Outcome>,
  ): Promise<RunResult> {
    if (operation.policy.mode === 'transactional' || this.isInsideTransaction()) {
      return this.runTransaction(operation, work);
    }
    const claimed = await this.claim(operation);
    if ('type' in claimed) {
      if (claimed.type === 'replayed') {
        try {
          await this.allowReplay(operation);
          return claimed;
        } catch (error) {
          this.reject(operation, error);
          throw error;
        }
      }
      this.options.emit('onUnprotected', { handler: operation.handler, record: operation.id });
      await work(new Attempt(operation, newOwner(), { attempt: 1, fence: 0n }, Infinity));
      return { type: 'unprotected' };
    }
    return this.perform(operation, claimed, work).finally(() =>
      this.waitingRoom.call(operation.id),
    );
  }

  /** What runs inside of a transaction is a part of it, or would need a second connection. */
  isInsideTransaction(): boolean {
    return this.store.transactions?.isInside() === true;
  }

  private async runTransaction(
    operation: Operation,
    work: (attempt: Attempt) => Promise<Outcome>,
  ): Promise<RunResult> {
    try {
      await this.ensureReady();
      const result = await this.transactional.run(operation, work);
      if (result.type === 'replayed') {
        await this.allowReplay(operation);
      }
      return result;
    } catch (error) {
      this.reject(operation, error);
      throw error;
    }
  }

  /** @throws IdempotencyError `…_REPLAY_FORBIDDEN` */
  private async allowReplay({ handler, id, mayReplay }: Operation): Promise<void> {
    if (mayReplay !== undefined && !(await mayReplay())) {
      throw new IdempotencyError(
        'IDEMPOTENCY_REPLAY_FORBIDDEN',
        'This request was carried out before, and you may not see its outcome any more. Nothing was run.',
      );
    }
    this.options.emit('onReplayed', { handler, record: id });
  }

  private reject(operation: Operation, error: unknown): void {
    if (error instanceof IdempotencyError) {
      this.options.emit('onRejected', {
        handler: operation.handler,
        record: operation.id,
        code: error.code,
      });
    }
  }

  private perform(
    operation: Operation,
    attempt: Attempt,
    work: (attempt: Attempt) => Promise<Outcome>,
  ): Promise<RunResult> {
    this.leases.keep(attempt);
    attempt.onLost = () => this.options.emit('onLeaseLost', attemptEvent(operation, attempt));
    const leave = this.running.enter((reason) => {
      attempt.lose(reason);
      this.leases.drop(attempt);
    });
    return this.carryOut(operation, attempt, work).finally(leave);
  }

  private async carryOut(
    operation: Operation,
    attempt: Attempt,
    work: (attempt: Attempt) => Promise<Outcome>,
  ): Promise<RunResult> {
    try {
      await failpoint('claim:after');
      const ended = await work(attempt);
      attempt.finish();
      const { outcome, problem } = attempt.progress.conclude(ended);
      const result = await this.recorder.settle(operation, attempt, outcome);
      if (problem !== undefined && result.type === 'executed') {
        throw problem;
      }
      if (result.type === 'replayed') {
        await this.allowReplay(operation);
      }
      return result;
    } catch (error) {
      this.leases.drop(attempt);
      this.reject(operation, error);
      throw error;
    }
  }

  private async ensureReady(): Promise<void> {
    if (this.ready === undefined) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        'An idempotent operation ran before the application was initialised. ' +
          'Call `await app.init()` (or `app.listen()`) first.',
      );
    }
    await this.ready;
  }

  private async claim(operation: Operation): Promise<Attempt | RunResult> {
    try {
      await this.ensureReady();
      return await this.claimer.claimOrAnswer(operation);
    } catch (error) {
      const failure = error instanceof IdempotencyError ? error : storeUnavailable(error);
      if (
        failure.code === 'IDEMPOTENCY_STORE_UNAVAILABLE' &&
        operation.policy.onStoreFailure === 'open'
      ) {
        return { type: 'unprotected' };
      }
      this.reject(operation, failure);
      throw failure;
    }
  }
}

function shuttingDown(): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_SHUTTING_DOWN',
    'This server is shutting down and begins nothing new. Nothing was run. Try again with the same key.',
    { retryAfterSeconds: 1 },
  );
}
