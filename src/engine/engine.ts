import { setMaxListeners } from 'node:events';
import { Attempt } from './attempt.js';
import { IdempotencyError } from './errors.js';
import type { EngineOptions } from './engine-options.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import { windowOf } from './key-time.js';
import { LeaseKeeper } from './lease-keeper.js';
import { claimRequest, type Operation, type Outcome, type RunResult } from './operation.js';
import { Recorder } from './recorder.js';
import { answerOf, checkSameRequest, outcomeUncertain, storeUnavailable } from './answers.js';
import { StepKeeper } from './step-keeper.js';
import { Steps } from './steps.js';
import type { Claim, ClaimRequest, ClaimResult, IdempotencyStore } from './store.js';
import { keyExpired } from './retention.js';
import { jittered, pause, within } from './timing.js';
import { RunningOperations } from './running-operations.js';
import { TransactionalRuns } from './transactional-runs.js';
import { settleUnknown } from './unknown-outcome.js';
import { WaitingRoom } from './waiting-room.js';

const CLAIM_TRIES = 3;

/**
 * The protocol: claim, run, renew, settle, replay, wait. An entry point gives it an operation and a
 * function to run; the engine runs the function at most once per outcome, and answers with the one
 * outcome that was recorded.
 */
export class IdempotencyEngine {
  readonly store: IdempotencyStore;
  private readonly leases: LeaseKeeper;
  private readonly waitingRoom: WaitingRoom;
  private readonly recorder: Recorder;
  private readonly transactional: TransactionalRuns;
  private readonly running = new RunningOperations();
  private readonly closing = new AbortController();
  private readonly stopping = new AbortController();
  private ready: Promise<void> | undefined;

  constructor(private readonly options: EngineOptions) {
    this.store = options.store;
    this.leases = new LeaseKeeper(options.store, options.storeTimeoutMs);
    this.waitingRoom = new WaitingRoom(options.store, options.storeTimeoutMs);
    this.recorder = new Recorder(options, this.leases, this.running, this.stopping.signal);
    this.transactional = new TransactionalRuns(
      options,
      this.recorder,
      this.running,
      this.closing.signal,
    );
    // every outcome that could not be recorded yet listens
    setMaxListeners(0, this.stopping.signal);
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
    const leave = this.running.enter();
    try {
      return await this.runOpen(operation, work);
    } finally {
      leave();
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
        this.options.emit('onReplayed', { handler: operation.handler, record: operation.id });
        return claimed;
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
  private isInsideTransaction(): boolean {
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
        this.options.emit('onReplayed', { handler: operation.handler, record: operation.id });
      }
      return result;
    } catch (error) {
      this.reject(operation, error);
      throw error;
    }
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

  private async perform(
    operation: Operation,
    attempt: Attempt,
    work: (attempt: Attempt) => Promise<Outcome>,
  ): Promise<RunResult> {
    this.leases.keep(attempt);
    const leave = this.running.enter(() => {
      attempt.lose('The application is shutting down.');
      this.leases.drop(attempt);
    });
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
        this.options.emit('onReplayed', { handler: operation.handler, record: operation.id });
      }
      return result;
    } catch (error) {
      this.leases.drop(attempt);
      this.reject(operation, error);
      throw error;
    } finally {
      leave();
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
      return await this.claimOrAnswer(operation);
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

  private async claimOrAnswer(operation: Operation): Promise<Attempt | RunResult> {
    const { policy, id } = operation;
    const request = claimRequest(operation, newOwner(), this.options.mask);
    const deadline = performance.now() + policy.waitTimeoutMs;
    let met: IdempotencyError | undefined;
    let isJudged = false;
    for (;;) {
      const { result, askedAt } = await this.askStore(request).catch((error: unknown) => {
        // who has met another attempt never runs beside it, whatever becomes of the store
        throw met ?? error;
      });
      if (result.type === 'claimed') {
        return this.claimed(operation, request, result, askedAt);
      }
      const { record } = result;
      if (record.state === 'uncertain' && !isJudged) {
        isJudged = true;
        met = outcomeUncertain();
        checkSameRequest(record.fingerprint, operation.fingerprint);
        const ttlMs = windowOf(operation.identity.key, policy.ttlMs, result.now);
        if (await settleUnknown(this.options, operation, record, ttlMs)) {
          continue;
        }
      }
      try {
        return answerOf(record, operation.fingerprint, result.now);
      } catch (error) {
        const left = deadline - performance.now();
        const waits = policy.onConcurrent === 'wait' && left > 0 && !this.closing.signal.aborted;
        if (!waits || (error as IdempotencyError).code !== 'IDEMPOTENCY_IN_PROGRESS') {
          throw error;
        }
        met = error as IdempotencyError;
        await this.waitingRoom.wait(id, left);
      }
    }
  }

  private async claimed(
    operation: Operation,
    request: ClaimRequest,
    result: Extract<ClaimResult, { type: 'claimed' }>,
    askedAt: number,
  ): Promise<Attempt> {
    const expired = keyExpired(operation, result.now);
    if (expired !== undefined) {
      await this.giveBack(request);
      throw expired;
    }
    const steps = await this.stepsOf(operation, request, result);
    if (result.takenOver) {
      this.options.emit('onTakenOver', {
        handler: operation.handler,
        record: operation.id,
        attempt: result.attempt,
      });
    }
    const ttlMs = windowOf(operation.identity.key, operation.policy.ttlMs, result.now);
    const keeperOf = (attempt: Attempt) => new StepKeeper(this.options, operation, attempt);
    return new Attempt(operation, request.owner, result, askedAt, ttlMs, steps, keeperOf);
  }

  /** What earlier attempts have finished. Another request, or a server that cannot read it, must not go on there. */
  private async stepsOf(
    operation: Operation,
    claim: Claim,
    { steps }: Extract<ClaimResult, { type: 'claimed' }>,
  ): Promise<Steps> {
    try {
      return Steps.decode(steps, operation.fingerprint, operation.policy.maxResultBytes);
    } catch (error) {
      await this.giveBack(claim);
      throw error;
    }
  }

  /** Asks again with the same owner token when a reply got lost: the store recognises its own claim. */
  private async askStore(request: ClaimRequest): Promise<{ result: ClaimResult; askedAt: number }> {
    const deadline = performance.now() + this.options.storeTimeoutMs;
    let answer: Promise<unknown> | undefined;
    let failure: unknown;
    let rest = 0;
    for (let tries = 1; tries <= CLAIM_TRIES && performance.now() + rest < deadline; tries += 1) {
      if (rest > 0) {
        await pause(rest);
      }
      rest = jittered(50 * tries);
      try {
        await failpoint('claim:before');
        const askedAt = performance.now();
        const claim = this.store.claim(request);
        answer = claim;
        const result = await within(Math.max(1, deadline - askedAt), claim);
        if (result.type === 'held' || performance.now() - askedAt < request.leaseMs) {
          return { result, askedAt };
        }
        failure = new Error('The claim was over before the store had answered.');
      } catch (error) {
        if (!isOutage(error)) {
          throw error;
        }
        failure = error;
      }
    }
    void this.giveBack(request, answer);
    throw storeUnavailable(failure);
  }

  /** The claim was made, or may be made yet, and the handler will not run. */
  private async giveBack(claim: Claim, answer?: Promise<unknown>): Promise<void> {
    const { storeTimeoutMs } = this.options;
    await Promise.allSettled([answer && within(storeTimeoutMs, answer)]);
    try {
      await within(storeTimeoutMs, this.store.release(claim));
    } catch {
      // the lease ends by itself
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

/** A store that is set up wrongly says so, and will again. */
function isOutage(error: unknown): boolean {
  return !(error instanceof IdempotencyError) || error.code === 'IDEMPOTENCY_STORE_UNAVAILABLE';
}
