import { checkSameRequest, outcomeUncertain } from './answers.js';
import type { EngineOptions } from './engine-options.js';
import { IdempotencyError } from './errors.js';
import { derivedKey } from './identity.js';
import { windowOf } from './key-time.js';
import type { Operation } from './operation.js';
import type { ClaimResult, StoredRecord } from './store.js';
import { within } from './timing.js';

/** The answer that a request would have been given. */
export interface VerdictResponse {
  /** 200 to 599. */
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Text and bytes go out as they are, everything else as JSON. */
  readonly body?: unknown;
}

/**
 * What became of an operation whose outcome was unknown. `'absent'`: it has not happened, and may run again.
 * `'done'`: it has happened, and there is no result to give; retries get `IDEMPOTENCY_RESULT_UNAVAILABLE`.
 * `{ result }`: it has happened, and this is what `execute()` or the method answers. `{ response }`: the same
 * for a request.
 */
export type Verdict = 'absent' | 'done' | KnownOutcome;

export type KnownOutcome = { readonly result: unknown } | { readonly response: VerdictResponse };

/** What is known of an operation whose attempt died or failed when its effect may have happened. */
export interface UnknownOutcome {
  readonly key: string;
  readonly scope: string;
  /** For people, for example `OrdersController.place`. */
  readonly handler: string;
  /** Runs so far. */
  readonly attempts: number;
  /** Of the last attempt. */
  readonly fence: bigint;
  /** The key that the attempts had from `once.derive(name)`: ask the other system for it. */
  derive(name: string): string;
}

/** Finds out whether it happened. `'unknown'`, like an error, leaves it as it is. */
export type UnknownOutcomeResolver = (
  unknown: UnknownOutcome,
) => Verdict | 'unknown' | Promise<Verdict | 'unknown'>;

export type OnUnknownOutcome = 'rerun' | 'block' | UnknownOutcomeResolver;

/** A known outcome in the form in which an entry point records its own. */
export type EncodeVerdict = (verdict: KnownOutcome) => Uint8Array;

export function isVerdict(answer: unknown): answer is Verdict {
  if (typeof answer !== 'object' || answer === null) {
    return answer === 'absent' || answer === 'done';
  }
  return 'result' in answer !== 'response' in answer;
}

/** A verdict as the store takes it. */
export function resolution(
  verdict: Verdict,
  encode: EncodeVerdict,
  ttlMs: number,
): 'absent' | { readonly result: Uint8Array | null; readonly ttlMs: number } {
  if (verdict === 'absent') {
    return verdict;
  }
  return { result: verdict === 'done' ? null : encode(verdict), ttlMs };
}

/**
 * Settles an uncertain record in the way that the operation chose. True when it is worth looking at the record
 * again, whoever has settled it.
 *
 * @throws IdempotencyError `…_KEY_REUSED` for another request's, `…_OUTCOME_UNCERTAIN` when settling failed,
 *   `…_MISCONFIGURED` for a verdict that does not fit the entry point.
 */
export async function settleUnknown(
  { store, storeTimeoutMs }: EngineOptions,
  operation: Operation,
  { record, now }: Extract<ClaimResult, { type: 'held' }>,
): Promise<boolean> {
  checkSameRequest(record.fingerprint, operation.fingerprint);
  const { onUnknownOutcome, ttlMs } = operation.policy;
  try {
    if (onUnknownOutcome === 'rerun') {
      await within(storeTimeoutMs, store.resolve(record.id, 'absent', record.owner));
      return true;
    }
    if (typeof onUnknownOutcome !== 'function') {
      return false;
    }
    const verdict: unknown = await onUnknownOutcome(unknownOutcome(operation, record));
    if (!isVerdict(verdict)) {
      return false;
    }
    const settled = resolution(
      verdict,
      operation.encodeVerdict,
      windowOf(operation.identity.key, ttlMs, now),
    );
    // the verdict is about this attempt: if another has begun meanwhile, it says nothing of that one
    await within(storeTimeoutMs, store.resolve(record.id, settled, record.owner));
    return true;
  } catch (error) {
    const isOurs = error instanceof IdempotencyError && error.code === 'IDEMPOTENCY_MISCONFIGURED';
    throw isOurs ? error : outcomeUncertain(error);
  }
}

function unknownOutcome(
  { identity, handler, id }: Operation,
  record: StoredRecord,
): UnknownOutcome {
  return {
    key: identity.key,
    scope: identity.scope,
    handler,
    attempts: record.attemptsStarted,
    fence: record.fence,
    derive: (name) => derivedKey(id, name),
  };
}
