import { canonicalJson } from './canonical-json.js';
import { digest, type Identity } from './identity.js';

/**
 * Stored as the first byte, so that a later version can compare a record of this one by this
 * algorithm instead of answering every live retry with a mismatch.
 */
export const FINGERPRINT_VERSION = 1;

/** Named values, in a fixed order, that a retry must repeat. */
export type FingerprintParts = Readonly<Record<string, unknown>>;

/**
 * What a retry must repeat: a version byte and 16 bytes of a digest. The identity is part of it, so
 * that two keys whose record ids collide meet as a mismatch and never as a replay.
 *
 * @throws TooDeepError when a part is nested more than 512 levels deep.
 */
export function fingerprint(identity: Identity, parts: FingerprintParts): Uint8Array {
  const { namespace, scope, operation, key } = identity;
  const texts = ['nestjs-idempotency/fingerprint/1', namespace, scope, operation, key];
  for (const name of Object.keys(parts).sort()) {
    texts.push(name, canonicalJson(parts[name]));
  }
  return Buffer.concat([Buffer.of(FINGERPRINT_VERSION), digest(texts).subarray(0, 16)]);
}

/** Whether two fingerprints are of the same request; `unreadable` when the stored one is of another version. */
export function compareFingerprints(
  stored: Uint8Array,
  presented: Uint8Array,
): 'same' | 'different' | 'unreadable' {
  if (stored[0] !== FINGERPRINT_VERSION || stored.length !== presented.length) {
    return 'unreadable';
  }
  return Buffer.compare(stored, presented) === 0 ? 'same' : 'different';
}
