import { metrics } from '@opentelemetry/api';
import { SCOPE } from './names.js';

/** From a millisecond to ten seconds, as OpenTelemetry has them for databases. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export type Instruments = ReturnType<typeof createInstruments>;

export function createInstruments() {
  const meter = metrics.getMeter(SCOPE);
  const seconds = (name: string, description: string) =>
    meter.createHistogram(name, {
      description,
      unit: 's',
      advice: { explicitBucketBoundaries: SECONDS },
    });
  return {
    operations: meter.createCounter('idempotency.operations', {
      description: 'What became of keys.',
      unit: '{operation}',
    }),
    takeOvers: meter.createCounter('idempotency.takeovers', {
      description: 'Attempts that follow one that died.',
      unit: '{attempt}',
    }),
    leaseLosses: meter.createCounter('idempotency.lease.losses', {
      description: 'Attempts that were given up while they ran.',
      unit: '{attempt}',
    }),
    recordingFailures: meter.createCounter('idempotency.recording.failures', {
      description: 'Outcomes that could not be recorded, yet or ever.',
      unit: '{attempt}',
    }),
    cleanedUp: meter.createCounter('idempotency.cleanup.deleted', {
      description: 'Expired records that were deleted.',
      unit: '{record}',
    }),
    waits: seconds('idempotency.wait.duration', 'How long duplicates waited for another attempt.'),
    store: seconds('idempotency.store.duration', 'How long calls of the store took.'),
  };
}
