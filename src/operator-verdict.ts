import { recordId, type Identity } from './engine/identity.js';
import { windowOf } from './engine/key-time.js';
import type { IdempotencyStore } from './engine/store.js';
import {
  isVerdict,
  resolution,
  type KnownOutcome,
  type Verdict,
} from './engine/unknown-outcome.js';
import { HTTP_OPERATION } from './http/request-operations.js';
import { encodeResponseVerdict } from './http/response-verdict.js';
import type { OperationSettings } from './idempotency.settings.js';
import { show } from './option-values.js';
import { misconfigured } from './options-check.js';
import { encodeValueVerdict } from './value-codec.js';

/**
 * Gives the first of these records that is uncertain the outcome that an operator has found out. Answers
 * whether there was one.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a verdict that is none, or does not fit the record.
 */
export async function resolveByOperator(
  store: IdempotencyStore,
  identities: readonly Identity[],
  verdict: Verdict,
  { policy, maxResultBytes }: OperationSettings,
  where: string,
): Promise<boolean> {
  if (!isVerdict(verdict)) {
    throw misconfigured(
      where,
      `the verdict is ${show(verdict)}. Write 'absent', 'done', { result: … } or { response: … }.`,
    );
  }
  for (const identity of identities) {
    const id = recordId(identity);
    if ((await store.find(id))?.state !== 'uncertain') {
      continue;
    }
    const encodeVerdict =
      identity.operation === HTTP_OPERATION ? encodeResponseVerdict : encodeValueVerdict;
    const encode = (known: KnownOutcome): Uint8Array => encodeVerdict(known, maxResultBytes, where);
    const ttlMs = windowOf(identity.key, policy.ttlMs, await store.ping());
    if (await store.resolve(id, resolution(verdict, encode, ttlMs))) {
      return true;
    }
  }
  return false;
}

/** Ends the first of these records that is parked. Answers whether there was one. */
export async function endParked(
  store: IdempotencyStore,
  ids: readonly string[],
  verdict: 'absent' | { readonly result: null; readonly ttlMs: number },
): Promise<boolean> {
  for (const id of ids) {
    const record = await store.find(id);
    if (record?.state === 'parked') {
      return store.resolve(id, verdict, record.owner);
    }
  }
  return false;
}
