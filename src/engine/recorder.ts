import { answerOf } from './answers.js';
import type { Attempt } from './attempt.js';
import { checkStore } from './check-store.js';
import type { EngineOptions } from './engine-options.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { Operation, Outcome, ReleasedOutcome, RunResult } from './operation.js';
import { claimAnew, writeAsOwner } from './owner-write.js';
import type { RunningOperations } from './running-operations.js';
import type { SettleResult, StoredRecord } from './store.js';
import { jittered, pause, within } from './timing.js';

const FIRST_RETRY_MS = 100;
const SLOWEST_RETRY_MS = 5_000;
/**
 * After so many in a row, a result that a working store refuses (its packets may be limited) is given up. Several
 * seconds' worth: a store whose connections break one after the other answers in between too.
 */
const MOST_REFUSALS = 6;

/** Writes down how an attempt ended, and finds out whose outcome stands when its claim was lost. */
export class Recorder {
  constructor(
    private readonly options: EngineOptions,
    private readonly leases: LeaseKeeper,
    private readonly running: RunningOperations,
    private readonly stopped: AbortSignal,
  ) {}

  /**
   * Records the outcome. When the store is away the caller still gets its own result, because the
   * work is done; recording it goes on in the background while the lease is renewed.
   *
   * @throws IdempotencyError when the claim was lost and the winner has no outcome to give (yet).
   */
  async settle(operation: Operation, attempt: Attempt, outcome: Outcome): Promise<RunResult> {
    outcome = afterAttempt(operation, attempt, outcome);
    let winner: StoredRecord | undefined;
    try {
      winner = await this.recordNow(operation, attempt, outcome);
    } catch {
      this.options.emit('onRecordingFailed', { ...attemptEvent(operation, attempt), final: false });
      void this.recordLater(operation, attempt, outcome).finally(this.running.enter());
      return { type: 'executed' };
    }
    // a failure of ours gives way to a recorded outcome; while there is none, it is still the answer
    if (winner === undefined) {
      return outcome.type === 'park' ? { type: 'executed', parked: true } : { type: 'executed' };
    }
    const hasFailed = outcome.type === 'release' || outcome.type === 'park';
    if (hasFailed && winner.state !== 'completed') {
      return { type: 'executed' };
    }
    return answerOf(winner, operation.fingerprint, winner.claimedAt);
  }

  /** A process that stood still takes an answer that waits for it for none, and may have a successor meanwhile. */
  private async recordNow(
    operation: Operation,
    attempt: Attempt,
    outcome: Outcome,
  ): Promise<StoredRecord | undefined> {
    try {
      return await this.record(operation, attempt, outcome);
    } catch (error) {
      if (performance.now() - attempt.confirmedAt < attempt.leaseMs) {
        throw error;
      }
      return this.record(operation, attempt, outcome);
    }
  }

  private async recordLater(
    operation: Operation,
    attempt: Attempt,
    outcome: Outcome,
  ): Promise<void> {
    let delay = FIRST_RETRY_MS;
    let refusals = 0;
    while (!this.stopped.aborted && performance.now() < attempt.deadline) {
      await pause(jittered(delay), this.stopped);
      delay = Math.min(delay * 2, SLOWEST_RETRY_MS);
      try {
        await this.record(operation, attempt, outcome);
        return;
      } catch {
        // the store is still away, or there is something about this very result that it cannot take
        refusals = (await this.answers()) ? refusals + 1 : 0;
        if (refusals === MOST_REFUSALS && outcome.type === 'complete') {
          outcome = { type: 'tombstone' };
        }
      }
    }
    this.leases.drop(attempt);
    this.options.emit('onRecordingFailed', { ...attemptEvent(operation, attempt), final: true });
    if (outcome.type === 'complete' || outcome.type === 'tombstone') {
      await this.record(operation, attempt, { type: 'uncertain' }).catch(() => undefined);
    }
  }

  /** Writes the outcome and tells so. Answers the record that stands in its place, if one does. */
  private async record(
    operation: Operation,
    attempt: Attempt,
    outcome: Outcome,
  ): Promise<StoredRecord | undefined> {
    const settled =
      outcome.type === 'release'
        ? await this.release(attempt, outcome)
        : await this.write(operation, attempt, outcome);
    this.leases.drop(attempt);
    const standing = settled.applied ? null : settled.record;
    // sent again because its reply was lost, a release finds nothing and an uncertain record itself; an
    // outcome that is not its own was given to its record while it was away
    if (standing !== null && (standing.owner !== attempt.owner || standing.expiresAt !== null)) {
      return standing;
    }
    this.report(operation, attempt, outcome);
    return undefined;
  }

  private async answers(): Promise<boolean> {
    try {
      await this.bounded(checkStore(this.options.store));
      return true;
    } catch {
      return false;
    }
  }

  private async release(attempt: Attempt, { counted }: ReleasedOutcome): Promise<SettleResult> {
    await failpoint('release:before');
    return this.bounded(this.options.store.release(attempt, counted));
  }

  private async write(
    operation: Operation,
    attempt: Attempt,
    outcome: Outcome,
  ): Promise<SettleResult> {
    const settled = await writeAsOwner(
      async () => {
        await failpoint('complete:before');
        return this.bounded(this.send(attempt, outcome));
      },
      () => this.bounded(claimAnew(this.options, operation, attempt)),
    );
    await failpoint('complete:after');
    return settled;
  }

  private send(attempt: Attempt, outcome: Outcome): Promise<SettleResult> {
    const { store } = this.options;
    const { id, owner } = attempt;
    if (outcome.type === 'uncertain') {
      return store.markUncertain({ id, owner });
    }
    if (outcome.type === 'park') {
      return store.park({ id, owner }, outcome.failure);
    }
    const result = outcome.type === 'complete' ? outcome.result : null;
    return store.complete({ id, owner, result, ttlMs: attempt.ttlMs });
  }

  private report(operation: Operation, attempt: Attempt, outcome: Outcome): void {
    const event = attemptEvent(operation, attempt);
    switch (outcome.type) {
      case 'release':
        return this.options.emit('onReleased', event);
      case 'park':
        return this.options.emit('onParked', event);
      case 'uncertain':
        return this.options.emit('onUncertain', event);
      default:
        return this.options.emit('onExecuted', { ...event, stored: outcome.type === 'complete' });
    }
  }

  private bounded<T>(answer: Promise<T>): Promise<T> {
    return within(this.options.storeTimeoutMs, answer);
  }
}

/** A failure that counts, of the last attempt that there may be, parks the operation. */
function afterAttempt(
  { policy: { attempts } }: Operation,
  { attempt }: Attempt,
  outcome: Outcome,
): Outcome {
  const counts = outcome.type === 'release' && outcome.counted !== false;
  if (attempts === undefined || !counts || attempt < attempts.max) {
    return outcome;
  }
  return { type: 'park', failure: outcome.failure ?? null };
}
