import { calls, type Call } from './call-context.js';
import type { BatchFresh, BatchWork } from './batch-options.js';
import { checkSameRequest } from './engine/answers.js';
import type { IdempotencyContext } from './engine/attempt.js';
import { isControlFlow } from './engine/control-flow.js';
import type { IdempotencyEngine } from './engine/engine.js';
import type { Envelope } from './engine/envelope.js';
import { judgeFailure, statusOf, type FailurePolicy } from './engine/failure-policy.js';
import { encodeFailure } from './engine/last-failure.js';
import type { Operation, Outcome } from './engine/operation.js';
import { misconfigured } from './options-check.js';
import { decodeOutcome, encodeValue } from './value-codec.js';
import { keptWithin, runForValue } from './value-run.js';

/** Operations of one policy, in the order of the items. */
export interface Batch<T> {
  readonly items: readonly T[];
  readonly operations: readonly Operation[];
  readonly where: string;
  readonly maxResultBytes: number;
  readonly errors: FailurePolicy;
}

/** Runs a batch: together, or one by one. */
export class BatchRun<T, R> {
  constructor(
    private readonly engine: IdempotencyEngine,
    private readonly batch: Batch<T>,
    private readonly work: BatchWork<T, R>,
  ) {}

  /** @throws what the work throws; IdempotencyError */
  async together(): Promise<R[]> {
    const indexes = this.firsts();
    const values = new Map<number, R>();
    const inTransaction =
      this.engine.isInsideTransaction() ||
      this.batch.operations[0]?.policy.mode === 'transactional';
    if (inTransaction) {
      await this.nested(inOneOrder(this.batch.operations, indexes), values);
    } else {
      await this.leased(indexes, values);
    }
    return this.aligned(values);
  }

  /** Each by itself, one after the other, and none for the others. */
  async each(): Promise<PromiseSettledResult<R>[]> {
    const results: PromiseSettledResult<R>[] = [];
    for (const index of this.batch.items.keys()) {
      const alone = this.alone(index);
      await alone.then(
        (value) => results.push({ status: 'fulfilled', value }),
        (reason: unknown) => results.push({ status: 'rejected', reason }),
      );
    }
    return results;
  }

  private async leased(indexes: readonly number[], values: Map<number, R>): Promise<void> {
    const { operations } = this.batch;
    let failure: { readonly error: unknown } | undefined;
    const results = await this.engine.runBatch(
      indexes.map((index) => operations[index]!),
      async (fresh): Promise<readonly Outcome[]> => {
        const own = fresh.map(({ index, attempt }) => this.fresh(indexes[index]!, attempt));
        const call = callOf(own, operations);
        try {
          const answers = await calls.run(call.inner, () => this.ask(own));
          own.forEach(({ index }, n) => values.set(index, answers[n]!));
          return answers.map((answer) => ({ ...this.kept(answer), returned: true }));
        } catch (error) {
          failure = { error };
          return own.map(() => this.failed(error));
        } finally {
          call.end();
        }
      },
    );
    if (failure !== undefined) {
      throw failure.error;
    }
    for (const [n, result] of results.entries()) {
      const index = indexes[n]!;
      if (result.type === 'replayed') {
        values.set(index, valueOf<R>(result.outcome));
      }
    }
    for (const [n, result] of results.entries()) {
      if (result.type === 'later') {
        values.set(indexes[n]!, await this.alone(indexes[n]!));
      }
    }
  }

  /**
   * One inside of the other, and the work inside of all: the outermost transaction is that of the whole batch, and
   * the records of the others are a part of it.
   */
  private async nested(
    [index, ...rest]: readonly number[],
    values: Map<number, R>,
    fresh: readonly BatchFresh<T>[] = [],
  ): Promise<void> {
    if (index === undefined) {
      const answers = fresh.length === 0 ? [] : await this.ask(fresh);
      fresh.forEach((each, n) => values.set(each.index, answers[n]!));
      return;
    }
    const { operations, where, maxResultBytes } = this.batch;
    const operation = operations[index]!;
    const end = await runForValue<R>(this.engine, {
      operation: fresh.length === 0 ? operation : { ...operation, isInner: true },
      where,
      maxResultBytes,
      // a failure is that of the whole
      judge: () => 'release',
      work: async (once) => {
        await this.nested(rest, values, [...fresh, this.fresh(index, once)]);
        return values.get(index) as R;
      },
    });
    if ('error' in end) {
      throw end.error;
    }
    values.set(index, end.value);
    if (end.isReplay) {
      await this.nested(rest, values, fresh);
    }
  }

  private async alone(index: number): Promise<R> {
    const { operations, where, maxResultBytes, errors } = this.batch;
    const end = await runForValue<R>(this.engine, {
      operation: operations[index]!,
      where,
      maxResultBytes,
      judge: (error) => judgeFailure(errors, error, { status: statusOf(error) }),
      work: async (once) => (await this.ask([this.fresh(index, once)]))[0]!,
    });
    if ('error' in end) {
      throw end.error;
    }
    return end.value;
  }

  private async ask(fresh: readonly BatchFresh<T>[]): Promise<readonly R[]> {
    const answers: unknown = await this.work(fresh);
    if (!Array.isArray(answers) || answers.length !== fresh.length) {
      throw misconfigured(
        this.batch.where,
        `the work was given ${fresh.length} items and did not answer as many results. Answer an array with one ` +
          'result for each, in their order.',
      );
    }
    return answers as R[];
  }

  private fresh(index: number, once: IdempotencyContext): BatchFresh<T> {
    return { item: this.batch.items[index]!, index, once };
  }

  private kept(value: R) {
    return keptWithin(encodeValue(value), this.batch.maxResultBytes, this.batch.where);
  }

  /** A failure of the work is told of nobody in particular, and not stored as anybody's outcome. */
  private failed(error: unknown): Outcome {
    if (isControlFlow(error)) {
      return { type: 'release', counted: false };
    }
    const verdict = judgeFailure(this.batch.errors, error, { status: statusOf(error) });
    return verdict === 'uncertain'
      ? { type: 'uncertain' }
      : { type: 'release', failure: encodeFailure(error) };
  }

  /** The first item of each key. @throws IdempotencyError `…_KEY_REUSED` for two with one key that differ */
  private firsts(): number[] {
    const { operations } = this.batch;
    const firsts = new Map<string, number>();
    for (const [index, { id, fingerprint }] of operations.entries()) {
      const first = firsts.get(id);
      if (first === undefined) {
        firsts.set(id, index);
      } else {
        checkSameRequest(operations[first]!.fingerprint, fingerprint);
      }
    }
    return [...firsts.values()];
  }

  private aligned(values: ReadonlyMap<number, R>): R[] {
    const byId = new Map<string, R>();
    for (const [index, value] of values) {
      byId.set(this.batch.operations[index]!.id, value);
    }
    return this.batch.operations.map(({ id }) => byId.get(id) as R);
  }
}

/** So that two batches at once do not wait for each other. */
function inOneOrder(operations: readonly Operation[], indexes: readonly number[]): number[] {
  return indexes.toSorted((a, b) => (operations[a]!.id < operations[b]!.id ? -1 : 1));
}

/** The work belongs to every one of the operations. */
function callOf(
  fresh: readonly BatchFresh<unknown>[],
  operations: readonly Operation[],
): { readonly inner: Call; end(): void } {
  const own: Call[] = [];
  for (const { index, once } of fresh) {
    const outer = own.at(-1) ?? calls.getStore();
    const operation = operations[index];
    own.push({ once, operation, outer, isShared: true, handlerStarted: false, isOver: false });
  }
  return {
    inner: own.at(-1)!,
    end: () => own.forEach((call) => (call.isOver = true)),
  };
}

function valueOf<R>(outcome: Envelope): R {
  const end = decodeOutcome(outcome);
  if ('error' in end) {
    throw end.error;
  }
  return end.value as R;
}
