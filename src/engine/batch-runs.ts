import { answerOf, checkSameRequest, storeUnavailable } from './answers.js';
import type { Attempt } from './attempt.js';
import type { Claimer } from './claimer.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { attemptEvent } from './events.js';
import { failpoint } from './failpoints.js';
import { newOwner } from './identity.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { claimRequest, type Operation, type Outcome, type RunResult } from './operation.js';
import { giveBack } from './owner-write.js';
import type { Recorder } from './recorder.js';
import type { RunningOperations } from './running-operations.js';
import type { ClaimRequest, ClaimResult, CompleteRequest, SettleResult } from './store.js';
import { StoreTimeoutError, within } from './timing.js';

/** One of the operations that nobody has carried out yet. */
export interface Fresh {
  /** Of the operation in the batch. */
  readonly index: number;
  readonly attempt: Attempt;
}

/** `later`: somebody else is at it, or it is uncertain; to be run by itself when the others are through. */
export type BatchResult = RunResult | { readonly type: 'later' };

/** Many operations that are claimed together, run together, and completed together. */
export class BatchRuns {
  constructor(
    private readonly options: EngineOptions,
    private readonly claimer: Claimer,
    private readonly recorder: Recorder,
    private readonly leases: LeaseKeeper,
    private readonly running: RunningOperations,
  ) {}

  /**
   * @param work answers an outcome for each that it is given, and does not throw
   * @throws IdempotencyError as `IdempotencyEngine.run`: before anything has run, and every claim is given back; or when
   *   an attempt has lost its claim, and every other outcome is recorded.
   */
  async run(
    operations: readonly Operation[],
    work: (fresh: readonly Fresh[]) => Promise<readonly Outcome[]>,
  ): Promise<BatchResult[]> {
    const { results, fresh } = await this.claim(operations);
    if (fresh.length === 0) {
      return results;
    }
    const attempts = fresh.map(({ attempt }) => attempt);
    for (const { index, attempt } of fresh) {
      const operation = operations[index]!;
      attempt.onLost = () => this.options.emit('onLeaseLost', attemptEvent(operation, attempt));
      this.leases.keep(attempt);
    }
    const leave = this.running.enter((reason) => {
      for (const attempt of attempts) {
        attempt.lose(reason);
        this.leases.drop(attempt);
      }
    });
    try {
      await failpoint('claim:after');
      await this.settle(operations, fresh, await work(fresh), results);
      return results;
    } finally {
      attempts.forEach((attempt) => attempt.isOver || this.leases.drop(attempt));
      leave();
    }
  }

  private async claim(
    operations: readonly Operation[],
  ): Promise<{ results: BatchResult[]; fresh: Fresh[] }> {
    const requests = operations.map((each) => claimRequest(each, newOwner(), this.options.mask));
    const askedAt = performance.now();
    const answers = await this.ask(requests, askedAt);
    const results: BatchResult[] = [];
    const fresh: Fresh[] = [];
    for (const [index, answer] of answers.entries()) {
      const operation = operations[index]!;
      try {
        if (answer.type === 'held') {
          results[index] = met(operation, answer);
        } else {
          const attempt = await this.claimer.claimed(operation, requests[index]!, answer, askedAt);
          fresh.push({ index, attempt });
          results[index] = { type: 'executed' };
        }
      } catch (error) {
        await this.giveBack(requests);
        this.reject(operation, error);
        throw error;
      }
    }
    for (const [index, { type }] of results.entries()) {
      if (type === 'replayed') {
        const { handler, id } = operations[index]!;
        this.options.emit('onReplayed', { handler, record: id });
      }
    }
    return { results, fresh };
  }

  private async ask(
    requests: readonly ClaimRequest[],
    askedAt: number,
  ): Promise<readonly ClaimResult[]> {
    await failpoint('claim:before');
    const asked = this.options.store.claimMany(requests);
    const lease = Math.min(...requests.map(({ leaseMs }) => leaseMs));
    try {
      const answers = await this.patiently(asked, requests.length, askedAt + lease);
      if (performance.now() - askedAt < lease) {
        return answers;
      }
      throw new Error('The claims were over before the store had answered.');
    } catch (error) {
      // made, or made yet
      void this.giveBack(requests, asked);
      const isOurs =
        error instanceof IdempotencyError && error.code !== 'IDEMPOTENCY_STORE_UNAVAILABLE';
      throw isOurs ? error : storeUnavailable(error);
    }
  }

  /**
   * What failed before, the store claims one by one. So as long as it answers others, it is given as much time as
   * for as many claims, while the first of them is not over.
   */
  private async patiently<T>(asked: Promise<T>, claims: number, deadline: number): Promise<T> {
    const { store, storeTimeoutMs } = this.options;
    try {
      return await within(storeTimeoutMs, asked);
    } catch (error) {
      const isLate = claims === 1 || performance.now() >= deadline;
      if (!(error instanceof StoreTimeoutError) || isLate) {
        throw error;
      }
      await within(storeTimeoutMs, store.ping());
      return this.patiently(asked, claims - 1, deadline);
    }
  }

  /** Nothing of it will run. */
  private async giveBack(
    requests: readonly ClaimRequest[],
    asked?: Promise<unknown>,
  ): Promise<void> {
    await Promise.all(requests.map((request) => giveBack(this.options, request, asked)));
  }

  private async settle(
    operations: readonly Operation[],
    fresh: readonly Fresh[],
    ended: readonly Outcome[],
    results: BatchResult[],
  ): Promise<void> {
    const ends = fresh.map(({ index, attempt }, n) => {
      attempt.finish();
      const { outcome, problem } = attempt.progress.conclude(ended[n]!);
      return { index, attempt, outcome, problem };
    });
    const toComplete = ends.flatMap(({ attempt, outcome }) => {
      const isDone = outcome.type === 'complete' || outcome.type === 'tombstone';
      return isDone ? [completion(attempt, outcome)] : [];
    });
    const completed = await this.complete(toComplete);
    const errors: unknown[] = [];
    for (const { index, attempt, outcome, problem } of ends) {
      const operation = operations[index]!;
      if (problem !== undefined) errors.push(problem);
      if (completed.has(attempt.owner)) {
        this.leases.drop(attempt);
        const stored = outcome.type === 'complete';
        this.options.emit('onExecuted', { ...attemptEvent(operation, attempt), stored });
        continue;
      }
      try {
        results[index] = await this.recorder.settle(operation, attempt, outcome);
      } catch (error) {
        this.leases.drop(attempt);
        this.reject(operation, error);
        errors.push(error);
      }
    }
    if (errors.length > 0) {
      throw errors[0];
    }
  }

  /** Answers the owners whose outcomes are recorded; the others are seen to one by one. */
  private async complete(requests: readonly CompleteRequest[]): Promise<ReadonlySet<string>> {
    const { store, storeTimeoutMs } = this.options;
    if (requests.length === 0) {
      return new Set();
    }
    let settled: readonly SettleResult[] = [];
    try {
      await failpoint('complete:before');
      settled = await within(storeTimeoutMs, store.completeMany(requests));
      await failpoint('complete:after');
    } catch {
      // away, or it cannot take one of them
    }
    return new Set(
      requests.filter((_, n) => settled[n]?.applied === true).map(({ owner }) => owner),
    );
  }

  private reject({ handler, id }: Operation, error: unknown): void {
    if (error instanceof IdempotencyError) {
      this.options.emit('onRejected', { handler, record: id, code: error.code });
    }
  }
}

function completion({ id, owner, ttlMs }: Attempt, outcome: Outcome): CompleteRequest {
  return { id, owner, ttlMs, result: outcome.type === 'complete' ? outcome.result : null };
}

function met(
  { policy, fingerprint }: Operation,
  { record, now }: Extract<ClaimResult, { type: 'held' }>,
): BatchResult {
  const waits = record.state === 'in-progress' && policy.onConcurrent === 'wait';
  const asks =
    record.state === 'uncertain' &&
    (policy.onUnknownOutcome === 'rerun' || typeof policy.onUnknownOutcome === 'function');
  if (waits || asks) {
    checkSameRequest(record.fingerprint, fingerprint);
    return { type: 'later' };
  }
  return answerOf(record, fingerprint, now);
}
