import { Attempt } from './attempt.js';
import { IdempotencyError } from './errors.js';
import type { EngineOptions } from './engine-options.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import { keyTime } from './key-time.js';
import { LeaseKeeper } from './lease-keeper.js';
import { claimRequest, type Operation, type Outcome, type RunResult } from './operation.js';
import { Recorder } from './recorder.js';
import { answerOf, storeUnavailable } from './answers.js';
import type { ClaimRequest, ClaimResult, IdempotencyStore } from './store.js';
import { jittered, pause, within } from './timing.js';
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
  private ready: Promise<void> | undefined;

  constructor(private readonly options: EngineOptions) {
    this.store = options.store;
    this.leases = new LeaseKeeper(options.store);
    this.waitingRoom = new WaitingRoom(options.store);
    this.recorder = new Recorder(options, this.leases);
  }

  /** Checks the store. Safe to call more than once; nothing is claimed before it has succeeded. */
  start(): Promise<void> {
    this.ready ??= this.store.init();
    return this.ready;
  }

  /** Ends every timer. Running operations may still settle. */
  stop(): void {
    this.leases.stop();
    this.recorder.stop();
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
      await work(this.attempt(operation, newOwner(), { attempt: 1, fence: 0n }, 0));
      return { type: 'unprotected' };
    }
    this.leases.keep(claimed);
    try {
      await failpoint('claim:after');
      const outcome = await work(claimed);
      return await this.recorder.settle(operation, claimed, outcome);
    } catch (error) {
      this.leases.drop(claimed);
      throw error;
    } finally {
      this.waitingRoom.call(operation.id);
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
    await this.ready;
    try {
      return await this.claimOrAnswer(operation);
    } catch (error) {
      const failure = error instanceof IdempotencyError ? error : storeUnavailable(error);
      if (
        failure.code === 'IDEMPOTENCY_STORE_UNAVAILABLE' &&
        operation.policy.onStoreFailure === 'open'
      ) {
        return { type: 'unprotected' };
      }
      this.options.emit('onRejected', {
        handler: operation.handler,
        record: operation.id,
        code: failure.code,
      });
      throw failure;
    }
  }

  private async claimOrAnswer(operation: Operation): Promise<Attempt | RunResult> {
    const { policy, id } = operation;
    const request = claimRequest(operation, newOwner(), this.options.mask);
    const deadline = performance.now() + policy.waitTimeoutMs;
    for (;;) {
      const askedAt = performance.now();
      const result = await this.askStore(request);
      if (result.type === 'claimed') {
        return this.claimed(operation, request, result, askedAt);
      }
      const { record } = result;
      try {
        return answerOf(record, operation.fingerprint, result.now);
      } catch (error) {
        const left = deadline - performance.now();
        const waits = policy.onConcurrent === 'wait' && left > 0;
        if (!waits || (error as IdempotencyError).code !== 'IDEMPOTENCY_IN_PROGRESS') {
          throw error;
        }
        await this.waitingRoom.wait(id, record.owner, left);
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
      await within(this.options.storeTimeoutMs, this.store.release(request));
      throw new IdempotencyError(
        'IDEMPOTENCY_KEY_EXPIRED',
        'This key was made longer ago than outcomes are kept, so that it cannot be told whether its ' +
          'request has been done before. Nothing was run. Check the state of the resource, and send a ' +
          'new key if the request is still wanted.',
      );
    }
    if (result.takenOver) {
      this.options.emit('onTakenOver', {
        handler: operation.handler,
        record: operation.id,
        attempt: result.attempt,
      });
    }
    return this.attempt(operation, request.owner, result, askedAt);
  }

  /** Asks again with the same owner token when a reply got lost: the store recognises its own claim. */
  private async askStore(request: ClaimRequest): Promise<ClaimResult> {
    const deadline = performance.now() + this.options.storeTimeoutMs;
    for (let tries = 1; ; tries += 1) {
      try {
        await failpoint('claim:before');
        return await within(Math.max(1, deadline - performance.now()), this.store.claim(request));
      } catch (error) {
        if (error instanceof IdempotencyError) {
          throw error;
        }
        if (tries === CLAIM_TRIES || performance.now() >= deadline) {
          // the claim may have been made all the same; the handler will not run, so give it back
          void this.store.release(request).catch(() => undefined);
          throw error;
        }
        await pause(jittered(50 * tries));
      }
    }
  }

  private attempt(
    { id, identity, policy }: Operation,
    owner: string,
    { attempt, fence }: { attempt: number; fence: bigint },
    askedAt: number,
  ): Attempt {
    return new Attempt(
      id,
      owner,
      identity,
      attempt,
      fence,
      policy.leaseMs,
      policy.maxDurationMs,
      askedAt,
    );
  }
}
