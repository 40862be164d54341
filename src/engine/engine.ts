import { setMaxListeners } from 'node:events';
import { Attempt } from './attempt.js';
import { IdempotencyError } from './errors.js';
import type { EngineOptions } from './engine-options.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import { keyTime, windowOf } from './key-time.js';
import { LeaseKeeper } from './lease-keeper.js';
import { claimRequest, type Operation, type Outcome, type RunResult } from './operation.js';
import { Recorder } from './recorder.js';
import { answerOf, checkSameRequest, outcomeUncertain, storeUnavailable } from './answers.js';
import { Steps } from './steps.js';
import type { Claim, ClaimRequest, ClaimResult, IdempotencyStore } from './store.js';
import { jittered, pause, within } from './timing.js';
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
  private readonly stopping = new AbortController();
  private ready: Promise<void> | undefined;

  constructor(private readonly options: EngineOptions) {
    this.store = options.store;
    this.leases = new LeaseKeeper(options.store, options.storeTimeoutMs);
    this.waitingRoom = new WaitingRoom(options.store, options.storeTimeoutMs);
    this.recorder = new Recorder(options, this.leases, this.stopping.signal);
    // every outcome that could not be recorded yet listens
    setMaxListeners(0, this.stopping.signal);
  }

  /** Checks the store. Safe to call more than once; nothing is claimed before it has succeeded. */
  start(): Promise<void> {
    this.ready ??= this.store.init();
    return this.ready;
  }

  /** Ends every timer, and nobody waits any longer. Running operations may still settle. */
  stop(): void {
    this.stopping.abort();
    this.leases.stop();
    this.waitingRoom.callAll();
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
    }
  }

  private async claim(operation: Operation): Promise<Attempt | RunResult> {
    if (this.ready === undefined) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        'An idempotent operation ran before the application was initialised. ' +
          'Call `await app.init()` (or `app.listen()`) first.',
      );
    }
    try {
      await this.ready;
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
        const waits = policy.onConcurrent === 'wait' && left > 0 && !this.stopping.signal.aborted;
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
    const { policy, identity } = operation;
    const made = policy.expiredKeys === 'refuse' ? keyTime(identity.key) : undefined;
    // judged after the claim, by the store's clock: a key whose outcome is still kept replays instead
    if (made !== undefined && made + policy.ttlMs < result.now) {
      await this.giveBack(request);
      throw new IdempotencyError(
        'IDEMPOTENCY_KEY_EXPIRED',
        'This key was made longer ago than outcomes are kept, so that it cannot be told whether its ' +
          'request has been done before. Nothing was run. Check the state of the resource, and send a ' +
          'new key if the request is still wanted.',
      );
    }
    const steps = await this.stepsOf(operation, request, result);
    if (result.takenOver) {
      this.options.emit('onTakenOver', {
        handler: operation.handler,
        record: operation.id,
        attempt: result.attempt,
      });
    }
    const ttlMs = windowOf(identity.key, policy.ttlMs, result.now);
    return new Attempt(operation, request.owner, result, askedAt, ttlMs, steps, this.options);
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

/** A store that is set up wrongly says so, and will again. */
function isOutage(error: unknown): boolean {
  return !(error instanceof IdempotencyError) || error.code === 'IDEMPOTENCY_STORE_UNAVAILABLE';
}
