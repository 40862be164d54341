import { StreamableFile, type CallHandler, type ExecutionContext } from '@nestjs/common';
import { from, lastValueFrom, takeUntil, tap, type Observable, type Subscriber } from 'rxjs';
import { calls, newCall, type Call } from '../call-context.js';
import type { Attempt } from '../engine/attempt.js';
import { IdempotencyError } from '../engine/errors.js';
import { failpoint } from '../engine/failpoints.js';
import type { Operation, Outcome } from '../engine/operation.js';
import type { HeldResponse, HoldEvent } from './held-response.js';
import type { HttpExchange } from './http-exchange.js';
import {
  PROBLEM_CONTENT_TYPE,
  IdempotencyException,
  isProblem,
  problemOf,
  type Problem,
} from './problem.js';
import { readResponse, type WireResponse } from './recorded-response.js';
import { REPLAYED_HEADER } from './replayed-headers.js';
import type { RequestOperations } from './request-operations.js';
import { isEventStream } from './response-handling.js';
import { completion, failure } from './response-outcome.js';
import type { RouteSettings } from './route-settings.js';
import { stalled } from './stalled-response.js';
import { unmarked } from './unmarked-response.js';

const REPLAYED = { [REPLAYED_HEADER]: 'true' };
const UNPROTECTED = { 'Idempotency-Unprotected': 'true' };

const FAILED: WireResponse = {
  status: 500,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: Buffer.from(JSON.stringify({ statusCode: 500, message: 'Internal server error' })),
};

export interface RequestParts {
  readonly context: ExecutionContext;
  readonly exchange: HttpExchange;
  readonly settings: RouteSettings;
  readonly held: HeldResponse;
  readonly next: CallHandler;
}

type Handled =
  | { readonly failed: false }
  | { readonly failed: true; readonly error: unknown }
  /** It failed because of others at the same time, and nobody has been told. */
  | { readonly failed: 'again' };

/**
 * One request of an idempotent route, from its key to the last byte of its answer. The engine decides
 * whether the handler runs; the hold on the response keeps every byte back until the outcome is durable.
 */
export class IdempotentRequest {
  /** The handler and its pipes; undefined while, or when, they do not run. */
  private handled: Promise<Handled> | undefined;
  private isHandled = false;
  /** What the handler passed on of ours. */
  private problem: Problem | undefined;
  /** Whether the outside has been told how it went, and so stops listening of its own accord. */
  private isAnswered = false;
  private abandoned!: () => void;
  private readonly abandonment = new Promise<void>((resolve) => {
    this.abandoned = resolve;
  });
  private isAbandoned = false;

  constructor(
    private readonly operations: RequestOperations,
    private readonly parts: RequestParts,
    /** What lies outside: the other interceptors, the adapter, the filters. */
    private readonly outside: Subscriber<unknown>,
  ) {}

  /** Outside stopped listening before there was an answer: what it responds with is not the handler's. */
  abandon(): void {
    if (!this.isAnswered) {
      this.isAbandoned = true;
      this.parts.held.release();
      this.abandoned();
    }
  }

  /** Never rejects: what goes wrong is an answer too. */
  async answer(): Promise<void> {
    const { exchange, context, settings, held } = this.parts;
    let operation: Operation | undefined;
    try {
      operation = await this.operations.operation(exchange, context, settings);
      if (operation === undefined) {
        held.release();
        await this.handle(newCall());
        return;
      }
      await this.run(operation);
    } catch (error) {
      await this.turnAway(error, operation !== undefined);
    }
  }

  private async run(operation: Operation): Promise<void> {
    const { held } = this.parts;
    const result = await this.operations.engine.run(operation, (attempt) =>
      this.attempt(operation, attempt),
    );
    await failpoint('respond');
    switch (result.type) {
      case 'executed':
        return held.release(this.headersOf(this.problem));
      case 'unprotected':
        return held.release(UNPROTECTED);
      case 'replayed':
        return this.replay(readResponse(result.outcome));
    }
  }

  private async replay(recorded: WireResponse): Promise<void> {
    const { held, exchange, settings } = this.parts;
    if (this.handled !== undefined) {
      // the handler ran, but another attempt's outcome stands; its own response is dropped
      return held.replace(recorded, REPLAYED);
    }
    if (settings.answersByItself && !held.released) {
      // the handler would have ended the response
      exchange.response.send();
    }
    // the pipeline finishes with nothing, so that whatever watches it from outside completes
    this.pass(undefined);
    await held.event;
    held.replace(recorded, REPLAYED);
  }

  private pass(value: unknown): void {
    if (value instanceof StreamableFile) {
      this.parts.held.keep(value.getStream());
    }
    this.isAnswered = true;
    this.outside.next(value);
    this.outside.complete();
  }

  private fail(error: unknown): void {
    this.isAnswered = true;
    this.outside.error(error);
  }

  /** What we told the handler, and it passed on, reaches the client like everything else of ours. */
  private failWith(error: unknown): void {
    if (!(error instanceof IdempotencyError)) {
      return this.fail(error);
    }
    const { held, exchange, settings } = this.parts;
    // it was not turned away, so that the hooks are not told
    this.operations.refusals.report(error, settings.name, true);
    if (error.retryAfterSeconds !== undefined && !held.looksSent && !held.released) {
      exchange.rawResponse.setHeader('Retry-After', String(error.retryAfterSeconds));
    }
    this.problem = problemOf(error);
    this.fail(new IdempotencyException(error));
  }

  /** Nest's own filter sends a problem as it is; an application's filter renders it its own way. */
  private headersOf(problem: Problem | undefined): Record<string, string> {
    const isAsItIs = problem !== undefined && isProblem(this.parts.held.captured.body, problem);
    return isAsItIs ? { 'Content-Type': PROBLEM_CONTENT_TYPE } : {};
  }

  private async turnAway(error: unknown, byEngine: boolean): Promise<void> {
    const { held, settings, exchange } = this.parts;
    if (!(error instanceof IdempotencyError)) {
      if (this.handled !== undefined) {
        // its answer would be one that nobody can repeat
        return held.replace(FAILED, {});
      }
      held.release();
      return this.fail(error);
    }
    this.operations.refusals.report(error, settings.name, byEngine);
    if (error.retryAfterSeconds !== undefined && !held.released) {
      exchange.rawResponse.setHeader('Retry-After', String(error.retryAfterSeconds));
    }
    const problem = problemOf(error);
    if (this.handled !== undefined) {
      // the pipeline has finished already: its answer is not the outcome that stands
      const headers = { 'Content-Type': PROBLEM_CONTENT_TYPE };
      const body = Buffer.from(JSON.stringify(problem));
      held.replace({ status: problem.status, headers, body }, {});
      return;
    }
    this.fail(new IdempotencyException(error));
    await held.event;
    held.release(this.headersOf(problem));
  }

  private async attempt(operation: Operation, attempt: Attempt): Promise<Outcome> {
    const { held, exchange, settings } = this.parts;
    const call = newCall(attempt, operation);
    await failpoint('handler:before');
    if (this.isAbandoned) {
      return { type: 'release' };
    }
    // only a transaction can have been in the way of others
    const unmark = settings.policy.mode === 'transactional' ? unmarked(exchange) : undefined;
    const handling = this.handle(call, attempt);
    const event = await Promise.race<HoldEvent | 'abandoned' | 'again' | void>([
      held.event,
      this.abandonment.then(() => 'abandoned' as const),
      handling.then(async ({ failed }) =>
        failed === 'again' ? failed : stalled(held, exchange, attempt, settings),
      ),
    ]);
    if (event === 'overflow' && !this.isHandled && settings.policy.mode === 'lease') {
      return { type: 'tombstone' };
    }
    if (event === 'ended' && !this.isHandled && !settings.answersByItself) {
      // somebody outside answered in the handler's place, and the client need not wait for it
      this.abandon();
    }
    const handled = await handling;
    call.isOver = true;
    await failpoint('handler:after');
    if (handled.failed === 'again') {
      unmark?.();
      this.handled = undefined;
      return { type: 'again' };
    }
    const response = event === 'ended' && !this.isAbandoned ? held.captured : undefined;
    if (!handled.failed) {
      return { ...completion(response, settings), returned: true };
    }
    // guards have spoken before us; pipes reject before the handler begins, and nothing has happened
    return call.handlerStarted ? failure(handled.error, response, settings) : { type: 'release' };
  }

  /** Runs pipes and handler, apart from anybody's subscription, and hands what came out to the outside. */
  private handle(call: Call, attempt?: Attempt): Promise<Handled> {
    const { next, context, held } = this.parts;
    const results = calls.run(call, () => next.handle());
    const handling = isEventStream(context.getHandler())
      ? this.forward(results)
      : lastValueFrom(results, { defaultValue: undefined }).then((value) => this.pass(value));
    this.handled = handling.then(
      (): Handled => {
        this.isHandled = true;
        return { failed: false };
      },
      async (error: unknown): Promise<Handled> => {
        if (!held.looksSent && !this.isAbandoned && attempt?.runsAgain(error) === true) {
          return { failed: 'again' };
        }
        this.isHandled = true;
        // what a handler has answered itself is its outcome, whatever it throws afterwards
        const hasAnswered = held.ended;
        if (!hasAnswered) {
          // filters may ask for the connection that a transaction would keep until they have answered
          await attempt?.undo();
        }
        this.failWith(error);
        return hasAnswered ? { failed: false } : { failed: true, error };
      },
    );
    return this.handled;
  }

  /** Events go out one by one, until they end or nobody listens any longer. */
  private async forward(events: Observable<unknown>): Promise<void> {
    const forwarded = events.pipe(
      takeUntil(from(this.abandonment)),
      tap((event) => this.outside.next(event)),
    );
    await lastValueFrom(forwarded, { defaultValue: undefined });
    this.isAnswered = true;
    this.outside.complete();
  }
}
