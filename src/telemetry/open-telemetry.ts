import { trace } from '@opentelemetry/api';
import type { IdempotencyStore } from '../engine/store.js';
import type { Telemetry } from '../engine/telemetry.js';
import { boolean } from '../option-values.js';
import { checkEach } from '../options-check.js';
import { createInstruments, type Instruments } from './instruments.js';
import { metricHooks } from './metric-hooks.js';
import { HANDLER, RECORD, SCOPE } from './names.js';
import { OpenRunSpan } from './open-run-span.js';
import { observeRecords } from './record-gauge.js';
import { WatchedStore } from './watched-store.js';

/** Options of `openTelemetry()`. */
export interface TelemetryOptions {
  /**
   * Tells in the gauge `idempotency.records` how many records are uncertain, parked, or expired and not deleted yet, up
   * to 10,000 of each. The store counts them at most once a minute; a database may read its whole table for that.
   * @default false
   */
  readonly recordCounts?: boolean;
}

/**
 * Spans and metrics through `@opentelemetry/api`, for `telemetry` of `IdempotencyModule.forRoot()`. The application
 * starts the SDK; without one this does nothing. A raw key, a scope or a body is never told.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for options that are none
 */
export function openTelemetry(options: TelemetryOptions = {}): Telemetry {
  checkEach({ recordCounts: boolean }, options, 'openTelemetry()');
  let made: Instruments | undefined;
  const unobserved: IdempotencyStore[] = [];
  // not before they are needed: a meter that is asked for before the SDK has started counts nothing, for ever
  const instruments = (): Instruments => {
    unobserved.splice(0).forEach(observeRecords);
    return (made ??= createInstruments());
  };
  const tracer = trace.getTracer(SCOPE);
  return {
    hooks: metricHooks(instruments),
    watch(store) {
      const watched = new WatchedStore(store, instruments);
      if (options.recordCounts === true) unobserved.push(watched);
      return watched;
    },
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
