import { TooDeepError } from './engine/canonical-json.js';
import { IdempotencyError } from './engine/errors.js';
import { fingerprint } from './engine/fingerprint.js';
import type { Identity } from './engine/identity.js';

/** @throws IdempotencyError `IDEMPOTENCY_KEY_INVALID` for a payload nested too deeply to be compared. */
export function payloadFingerprint(identity: Identity, payload: unknown): Uint8Array {
  try {
    return fingerprint(identity, { payload });
  } catch (error) {
    if (error instanceof TooDeepError) {
      throw new IdempotencyError(
        'IDEMPOTENCY_KEY_INVALID',
        `The payload cannot be made idempotent: ${error.message} Give the part of it that matters.`,
      );
    }
    throw error;
  }
}
