import type { IdempotencyStore } from '../engine/store.js';
import type { Telemetry } from '../engine/telemetry.js';
import { CachedStore } from './cached/cached.store.js';
import type { CacheLimits } from './cached/record-cache.js';
import { EncryptedStore } from './encrypted/encrypted.store.js';
import type { EncryptionKeys } from './encrypted/keyring.js';

/** The store as it was chosen, below what the application wants of any store: what is in memory is open. */
export function layered(
  store: IdempotencyStore,
  wanted: {
    readonly encryption: EncryptionKeys | undefined;
    readonly replayCache: CacheLimits | undefined;
    readonly telemetry: Telemetry | undefined;
  },
): IdempotencyStore {
  const { encryption, replayCache, telemetry } = wanted;
  const watched = telemetry?.watch(store) ?? store;
  const sealed = encryption === undefined ? watched : new EncryptedStore(watched, encryption);
  return replayCache === undefined ? sealed : new CachedStore(sealed, replayCache);
}
