import type { Attempt } from './attempt.js';
import { withTrace } from './envelope.js';
import type { IdempotencyHooks } from './events.js';
import type { Operation, Outcome, RunResult } from './operation.js';
import type { IdempotencyStore } from './store.js';

/** Watches what the engine does. Nothing that it does or throws may disturb an operation. */
export interface Telemetry {
  /** Told of what happens to keys, as the application's own hooks are. */
  readonly hooks: IdempotencyHooks;
  /** The same store, whose calls are watched. */
  watch(store: IdempotencyStore): IdempotencyStore;
  /** Calls `run` once and answers what it answers, or throws what it throws. */
  around<T>(operation: WatchedOperation, run: (span: RunSpan) => Promise<T>): Promise<T>;
}

export interface WatchedOperation {
  readonly handler: string;
  /** The record's id, a digest. Absent for many operations at once. */
  readonly record?: string;
}

/** What becomes of one call of the engine. */
export interface RunSpan {
  /** Its W3C `traceparent`, which is kept with the outcome. */
  readonly traceparent: string | undefined;
  began(attempt: number): void;
  /** The outcome that was recorded by another run, of that `traceparent`, is the answer. */
  replayed(traceparent: string | undefined): void;
  ended(outcome: SpanOutcome): void;
  failed(error: unknown): void;
}

export type SpanOutcome =
  'executed' | 'replayed' | 'released' | 'uncertain' | 'parked' | 'unprotected';

type Work = (attempt: Attempt) => Promise<Outcome>;

/** One run under a span. */
export function watchedRun(
  telemetry: Telemetry,
  { handler, id }: Operation,
  work: Work,
  run: (work: Work) => Promise<RunResult>,
): Promise<RunResult> {
  return telemetry.around({ handler, record: id }, async (span) => {
    let last: SpanOutcome = 'executed';
    return told(span, async () => {
      const result = await run(async (attempt) => {
        span.began(attempt.attempt);
        const outcome = traced(await work(attempt), span);
        last = endOf(attempt, outcome);
        return outcome;
      });
      noteReplay(result, span);
      span.ended(outcomeOf(result, last));
      return result;
    });
  });
}

/** Many runs at once under one span. */
export function watchedBatch<Fresh, Result extends { readonly type: string }>(
  telemetry: Telemetry,
  { handler }: Operation,
  work: (fresh: readonly Fresh[]) => Promise<readonly Outcome[]>,
  run: (work: (fresh: readonly Fresh[]) => Promise<readonly Outcome[]>) => Promise<Result[]>,
): Promise<Result[]> {
  return telemetry.around({ handler }, (span) =>
    told(span, async () => {
      const results = await run(async (fresh) =>
        (await work(fresh)).map((outcome) => traced(outcome, span)),
      );
      results.forEach((result) => noteReplay(result, span));
      return results;
    }),
  );
}

async function told<T>(span: RunSpan, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    span.failed(error);
    throw error;
  }
}

function noteReplay(result: { readonly type: string }, span: RunSpan): void {
  if (result.type === 'replayed') {
    span.replayed((result as Extract<RunResult, { type: 'replayed' }>).outcome.trace);
  }
}

function traced(outcome: Outcome, { traceparent }: RunSpan): Outcome {
  return outcome.type === 'complete' && traceparent !== undefined
    ? { ...outcome, result: withTrace(outcome.result, traceparent) }
    : outcome;
}

/** What the attempt amounts to, as `Progress.conclude` has it. */
function endOf({ effectBegun }: Attempt, { type }: Outcome): SpanOutcome {
  if (type === 'complete' || type === 'tombstone') {
    return 'executed';
  }
  return type === 'uncertain' || effectBegun ? 'uncertain' : 'released';
}

function outcomeOf(result: RunResult, last: SpanOutcome): SpanOutcome {
  if (result.type !== 'executed') {
    return result.type;
  }
  return result.parked === true ? 'parked' : last;
}
