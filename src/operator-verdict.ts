import { recordId, type Identity } from './engine/identity.js';
import { windowOf } from './engine/key-time.js';
import type { IdempotencyStore, StoredRecord } from './engine/store.js';
import {
  isVerdict,
  resolution,
  type KnownOutcome,
  type Verdict,
} from './engine/unknown-outcome.js';
import { HTTP_OPERATION } from './http/request-operations.js';
import { encodeResponseVerdict } from './http/response-verdict.js';
import { show } from './option-values.js';
import { misconfigured } from './options-check.js';
import { encodeValueVerdict } from './value-codec.js';

/** How the outcome is kept that an operator gives. */
export interface VerdictSettings {
  readonly ttlMs: number;
  readonly maxResultBytes: number;
}

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
  settings: VerdictSettings,
  where: string,
): Promise<boolean> {
  checkVerdict(verdict, where);
  for (const identity of identities) {
    const record = await store.find(recordId(identity));
    if (
      record?.state === 'uncertain' &&
      (await resolveAttempt(store, record, identity, verdict, settings, where))
    ) {
      return true;
    }
  }
  return false;
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
export function checkVerdict(verdict: unknown, where: string): asserts verdict is Verdict {
  if (!isVerdict(verdict)) {
    throw misconfigured(
      where,
      `the verdict is ${show(verdict)}. Write 'absent', 'done', { result: … } or { response: … }.`,
    );
  }
}

/**
 * The verdict is about the attempt that the record was read with: answers false when another has begun meanwhile.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a verdict that does not fit the record.
 */
export async function resolveAttempt(
  store: IdempotencyStore,
  { id, owner }: StoredRecord,
  { key, operation }: Pick<Identity, 'key' | 'operation'>,
  verdict: Verdict,
  settings: VerdictSettings,
  where: string,
): Promise<boolean> {
  const encode = (known: KnownOutcome): Uint8Array =>
    encodeKnown(operation, known, settings.maxResultBytes, where);
  const ttlMs = windowOf(key, settings.ttlMs, await store.ping());
  return store.resolve(id, resolution(verdict, encode, ttlMs), owner);
}

/**
 * A known outcome as the operation records its own.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for one that does not fit, or cannot be kept.
 */
export function encodeKnown(
  operation: string,
  known: KnownOutcome,
  maxResultBytes: number,
  where: string,
): Uint8Array {
  const encode = operation === HTTP_OPERATION ? encodeResponseVerdict : encodeValueVerdict;
  return encode(known, maxResultBytes, where);
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
