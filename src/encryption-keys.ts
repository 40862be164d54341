import type { EncryptionOptions } from './idempotency.options.js';
import { isRecord, show } from './option-values.js';
import { misconfigured } from './options-check.js';
import type { EncryptionKeys } from './stores/encrypted/keyring.js';

const WHERE = 'IdempotencyModule';
const KEY_BYTES = 32;
const NAME = /^[\x21-\x7e]{1,64}$/;
const EXAMPLE = "{ keys: { '2026-01': process.env.IDEMPOTENCY_KEY }, current: '2026-01' }";

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`, without any part of a key. */
export function encryptionKeys(options: EncryptionOptions): EncryptionKeys {
  if (!isRecord(options) || !isRecord(options.keys) || typeof options.current !== 'string') {
    throw misconfigured(WHERE, `option 'encryption' is incomplete. Write for example ${EXAMPLE}.`);
  }
  const keys = new Map(
    Object.entries(options.keys).map(([name, key]) => [name, keyBytes(name, key)]),
  );
  if (!keys.has(options.current)) {
    throw misconfigured(
      WHERE,
      `option 'encryption.current' is ${show(options.current)}, and there is no key of that name. ` +
        'Write the name of one of encryption.keys.',
    );
  }
  return { current: options.current, keys };
}

function keyBytes(name: string, key: unknown): Uint8Array {
  if (!NAME.test(name)) {
    throw misconfigured(
      WHERE,
      `option 'encryption.keys' has the name ${show(name)}. Write 1 to 64 visible ASCII characters.`,
    );
  }
  const bytes = typeof key === 'string' ? Buffer.from(key, 'base64') : key;
  if (!(bytes instanceof Uint8Array) || bytes.length !== KEY_BYTES) {
    throw misconfigured(
      WHERE,
      `the key ${show(name)} of option 'encryption.keys' has not got ${KEY_BYTES} bytes. Write ${KEY_BYTES} random ` +
        'bytes, or their base64: openssl rand -base64 32.',
    );
  }
  return bytes;
}
