import type { IdempotencyEvent, IdempotencyHooks } from '../engine/events.js';
import type { Instruments } from './instruments.js';
import { CODE, FINAL, HANDLER, OUTCOME } from './names.js';

/** Counts what hooks are told: by handler, outcome and code, and by nothing that has as many values as there are keys. */
export function metricHooks(instruments: () => Instruments): IdempotencyHooks {
  const counts =
    (outcome: string) =>
    ({ handler }: IdempotencyEvent): void =>
      instruments().operations.add(1, { [HANDLER]: handler, [OUTCOME]: outcome });
  return {
    onExecuted: counts('executed'),
    onReplayed: counts('replayed'),
    onReleased: counts('released'),
    onUncertain: counts('uncertain'),
    onParked: counts('parked'),
    onUnprotected: counts('unprotected'),
    onRejected: ({ handler, code }) =>
      instruments().operations.add(1, {
        [HANDLER]: handler,
        [OUTCOME]: 'rejected',
        [CODE]: code,
      }),
    onTakenOver: ({ handler }) => instruments().takeOvers.add(1, { [HANDLER]: handler }),
    onLeaseLost: ({ handler }) => instruments().leaseLosses.add(1, { [HANDLER]: handler }),
    onWaited: ({ handler, ms }) => instruments().waits.record(ms / 1_000, { [HANDLER]: handler }),
    onRecordingFailed: ({ handler, final }) =>
      instruments().recordingFailures.add(1, { [HANDLER]: handler, [FINAL]: final }),
    onExpired: ({ deleted }) => instruments().cleanedUp.add(deleted),
  };
}
