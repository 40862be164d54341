import { trace } from '@opentelemetry/api';
import type { Telemetry } from '../engine/telemetry.js';
import { createInstruments, type Instruments } from './instruments.js';
import { metricHooks } from './metric-hooks.js';
import { HANDLER, RECORD, SCOPE } from './names.js';
import { OpenRunSpan } from './open-run-span.js';
import { WatchedStore } from './watched-store.js';

/**
 * Spans and metrics through `@opentelemetry/api`, for `telemetry` of `IdempotencyModule.forRoot()`. The application
 * starts the SDK; without one this does nothing. A raw key, a scope or a body is never told.
 */
export function openTelemetry(): Telemetry {
  let made: Instruments | undefined;
  // not before they are needed: a meter that is asked for before the SDK has started counts nothing, for ever
  const instruments = (): Instruments => (made ??= createInstruments());
  const tracer = trace.getTracer(SCOPE);
  return {
    hooks: metricHooks(instruments),
    watch: (store) => new WatchedStore(store, instruments),
    around({ handler, record }, run) {
      const attributes = { [HANDLER]: handler, ...(record !== undefined && { [RECORD]: record }) };
      return tracer.startActiveSpan(`idempotency ${handler}`, { attributes }, async (span) => {
        try {
          return await run(new OpenRunSpan(span));
        } finally {
          span.end();
        }
      });
    },
  };
}
