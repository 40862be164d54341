import { decodeEnvelope, unreadable } from './envelope.js';
import { IdempotencyError } from './errors.js';
import { compareFingerprints } from './fingerprint.js';
import type { RunResult } from './operation.js';
import type { StoredRecord } from './store.js';

/**
 * What somebody who presents `fingerprint` is told when the record is another's: its recorded outcome,
 * or why there is none to give.
 *
 * @throws IdempotencyError with the code of the record's state.
 */
export function answerOf(
  record: StoredRecord,
  fingerprint: Uint8Array,
  now: number,
): Extract<RunResult, { type: 'replayed' }> {
  checkSameRequest(record.fingerprint, fingerprint);
  switch (record.state) {
    case 'completed':
      return { type: 'replayed', outcome: decodeEnvelope(record.result) };
    case 'in-progress':
      throw inProgress(secondsToWait(record, now));
    case 'uncertain':
      throw outcomeUncertain();
    case 'parked':
      throw parked();
    case 'tombstone':
      throw new IdempotencyError(
        'IDEMPOTENCY_RESULT_UNAVAILABLE',
        'The request with this key was carried out, but its response was not kept. It is not run ' +
          'again. Look at the resource instead.',
      );
  }
}

/** @throws IdempotencyError `…_KEY_REUSED`, `…_RECORD_UNREADABLE` */
export function checkSameRequest(recorded: Uint8Array, presented: Uint8Array): void {
  switch (compareFingerprints(recorded, presented)) {
    case 'unreadable':
      throw unreadable('its fingerprint is of another version');
    case 'different':
      throw new IdempotencyError(
        'IDEMPOTENCY_KEY_REUSED',
        'This key was used for a different request. Send a new key for a new request, or repeat ' +
          'the first request exactly.',
      );
    case 'same':
  }
}

export function inProgress(retryAfterSeconds = 1): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_IN_PROGRESS',
    'A request with this key is being processed. Try again with the same key a little later.',
    { retryAfterSeconds },
  );
}

/** As long as the attempt has been running so far, within what is left of its lease; at least a second. */
function secondsToWait({ claimedAt, leaseUntil }: StoredRecord, now: number): number {
  const running = now - claimedAt;
  const left = (leaseUntil as number) - now; // in progress, so that it has one
  return Math.max(1, Math.ceil(Math.min(running, left) / 1000));
}

export function outcomeUncertain(...cause: [unknown?]): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_OUTCOME_UNCERTAIN',
    'An earlier request with this key may or may not have taken effect, and it is not run again before that ' +
      'is settled. Look at the resource, or ask the operator of this service to settle it; then try again ' +
      'with the same key.',
    cause.length > 0 ? { cause: cause[0] } : {},
  );
}

export function parked(): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_PARKED',
    'The operation with this key has failed as often as it is tried, and is not run again by itself. Ask the ' +
      'operator of this service to remove the cause and to redrive it.',
  );
}

/** What the code of an attempt is told that has lost its claim, whatever it was about to do or record. */
export function attemptLost(): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_IN_PROGRESS',
    'This attempt has lost its lease, and another may be running. Nothing more is begun or recorded on its ' +
      'behalf. Try again with the same key a little later.',
    { retryAfterSeconds: 1 },
  );
}

export function storeUnavailable(error: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    'The request was not processed, because it could not be recorded. Try again with the same key.',
    {
      cause: error instanceof IdempotencyError ? error.cause : error,
      retryAfterSeconds: 1,
    },
  );
}
