import { SpanStatusCode, type Span } from '@opentelemetry/api';
import { IdempotencyError } from '../engine/errors.js';
import type { RunSpan, SpanOutcome } from '../engine/telemetry.js';
import { ATTEMPT, CODE, ERROR_TYPE, OUTCOME } from './names.js';
import { readTraceparent, writeTraceparent } from './traceparent.js';

/** A run as a span. Errors are told by their type: their messages are the application's. */
export class OpenRunSpan implements RunSpan {
  readonly traceparent: string | undefined;

  constructor(private readonly span: Span) {
    this.traceparent = writeTraceparent(span.spanContext());
  }

  began(attempt: number): void {
    this.span.setAttribute(ATTEMPT, attempt);
  }

  replayed(traceparent: string | undefined): void {
    const context = readTraceparent(traceparent);
    if (context !== undefined) {
      this.span.addLink({ context });
    }
  }

  ended(outcome: SpanOutcome): void {
    this.span.setAttribute(OUTCOME, outcome);
  }

  failed(error: unknown): void {
    if (error instanceof IdempotencyError) {
      this.span.setAttributes({ [OUTCOME]: 'rejected', [CODE]: error.code });
      if (error.statusCode < 500) {
        return; // the caller's
      }
    }
    this.span.setAttribute(ERROR_TYPE, errorType(error));
    this.span.setStatus({ code: SpanStatusCode.ERROR });
  }
}

/** A word of few values. */
export function errorType(error: unknown): string {
  if (error instanceof IdempotencyError) {
    return error.code;
  }
  return error instanceof Error ? error.name : '_OTHER';
}
