import { answerOf, outcomeUncertain, storeUnavailable } from './answers.js';
import { Attempt } from './attempt.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { isExhausted, parkUnrun } from './exhausted.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import { isOverLimit, refuseAtLimit, tooManyKeys } from './key-limit.js';
import { windowOf } from './key-time.js';
import { claimRequest, type Operation, type RunResult } from './operation.js';
import { giveBack } from './owner-write.js';
import { keyExpired } from './retention.js';
import { StepKeeper } from './step-keeper.js';
import { Steps } from './steps.js';
import type { Claim, ClaimRequest, ClaimResult } from './store.js';
import { jittered, pause, within } from './timing.js';
import { settleUnknown } from './unknown-outcome.js';
import { WaitTime } from './wait-time.js';
import type { WaitingRoom } from './waiting-room.js';

const CLAIM_TRIES = 3;

interface Asking {
  readonly request: ClaimRequest;
  /** An earlier claim of this owner may have been made, although nobody heard so. */
  isUnheard: boolean;
}

/** Makes an attempt the owner of its key, or finds the answer that is there already. */
export class Claimer {
  constructor(
    private readonly options: EngineOptions,
    private readonly waitingRoom: WaitingRoom,
    private readonly closing: AbortSignal,
  ) {}

  async claimOrAnswer(operation: Operation): Promise<Attempt | RunResult> {
    const waiting = new WaitTime(this.options.emit, operation);
    try {
      return await this.claimOrWait(operation, waiting);
    } finally {
      waiting.end();
    }
  }

  private async claimOrWait(operation: Operation, waiting: WaitTime): Promise<Attempt | RunResult> {
    const { policy, id } = operation;
    await refuseAtLimit(this.options, operation);
    const request = claimRequest(operation, newOwner(), this.options.mask);
    const asking: Asking = { request, isUnheard: false };
    const deadline = performance.now() + policy.waitTimeoutMs;
    let met: IdempotencyError | undefined;
    let isJudged = false;
    for (;;) {
      const { result, askedAt } = await this.askStore(asking).catch((error: unknown) => {
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
        if (await settleUnknown(this.options, operation, result)) {
          continue;
        }
      }
      try {
        return answerOf(record, operation.fingerprint, result.now);
      } catch (error) {
        const left = deadline - performance.now();
        const waits = policy.onConcurrent === 'wait' && left > 0 && !this.closing.aborted;
        if (!waits || (error as IdempotencyError).code !== 'IDEMPOTENCY_IN_PROGRESS') {
          throw error;
        }
        met = error as IdempotencyError;
        waiting.begin();
        await this.waitingRoom.wait(id, left);
      }
    }
  }

  /** @throws IdempotencyError when nothing must run; the claim is given back then, or parked */
  async claimed(
    operation: Operation,
    request: ClaimRequest,
    result: Extract<ClaimResult, { type: 'claimed' }>,
    askedAt: number,
  ): Promise<Attempt> {
    const expired = keyExpired(operation, result.now);
    if (expired !== undefined) {
      await giveBack(this.options, request);
      throw expired;
    }
    await this.giveBackAboveLimit(operation, request, askedAt);
    if (isExhausted(operation, result)) {
      const { id, owner } = request;
      return parkUnrun(this.options, operation, { id, owner, attempt: result.attempt });
    }
    const steps = await this.stepsOf(operation, request, result);
    if (result.takenOver) {
      this.options.emit('onTakenOver', attemptEvent(operation, result));
    }
    const ttlMs = windowOf(operation.identity.key, operation.policy.ttlMs, result.now);
    const keeperOf = (attempt: Attempt) => new StepKeeper(this.options, operation, attempt);
    return new Attempt(operation, request.owner, result, askedAt, ttlMs, steps, keeperOf);
  }

  /** @throws IdempotencyError `…_TOO_MANY_KEYS`, `…_STORE_UNAVAILABLE`; the claim is given back then */
  private async giveBackAboveLimit(
    operation: Operation,
    request: ClaimRequest,
    askedAt: number,
  ): Promise<void> {
    const { storeTimeoutMs } = this.options;
    const left = request.leaseMs - (performance.now() - askedAt);
    try {
      if (await isOverLimit(this.options, operation, Math.min(storeTimeoutMs, left))) {
        throw tooManyKeys();
      }
    } catch (error) {
      await giveBack(this.options, request);
      throw error;
    }
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
      await giveBack(this.options, claim);
      throw error;
    }
  }

  /** Asks again with the same owner token when a reply got lost: the store recognises its own claim. */
  private async askStore(asking: Asking): Promise<{ result: ClaimResult; askedAt: number }> {
    const { request } = asking;
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
        const claim = this.options.store.claim(request);
        answer = claim;
        const result = await within(deadline - askedAt, claim);
        if (result.type === 'held') {
          return { result, askedAt };
        }
        const leasedAt = asking.isUnheard ? await this.prolong(request, deadline) : askedAt;
        if (leasedAt !== undefined && performance.now() - leasedAt < request.leaseMs) {
          return { result, askedAt: leasedAt };
        }
        failure = new Error('The claim was over before the store had answered.');
      } catch (error) {
        if (!isOutage(error)) {
          throw error;
        }
        failure = error;
      }
      asking.isUnheard = true;
    }
    void giveBack(this.options, request, answer);
    throw storeUnavailable(failure);
  }

  /** The claim that stands may be an earlier one, whose lease began when it was made. Answers when it begins anew. */
  private async prolong(request: ClaimRequest, deadline: number): Promise<number | undefined> {
    const askedAt = performance.now();
    const renewal = this.options.store.renew([request], request.leaseMs);
    const renewed = await within(deadline - askedAt, renewal);
    return renewed.has(request.owner) ? askedAt : undefined;
  }
}

/** A store that is set up wrongly says so, and will again. */
function isOutage(error: unknown): boolean {
  return !(error instanceof IdempotencyError) || error.code === 'IDEMPOTENCY_STORE_UNAVAILABLE';
}
