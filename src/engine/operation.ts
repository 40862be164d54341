import type { Envelope } from './envelope.js';
import type { Identity } from './identity.js';
import type { ClaimRequest } from './store.js';
import type { EncodeVerdict, OnUnknownOutcome } from './unknown-outcome.js';

/** How one operation is protected. All times in milliseconds. */
export interface OperationPolicy {
  readonly mode: 'lease' | 'transactional';
  /** Work that leaves its transaction fails the operation. */
  readonly strict: boolean;
  readonly ttlMs: number;
  readonly leaseMs: number;
  readonly maxDurationMs: number;
  readonly onConcurrent: 'reject' | 'wait';
  readonly waitTimeoutMs: number;
  readonly expiredKeys: 'refuse' | 'rerun';
  readonly onStoreFailure: 'closed' | 'open';
  /**
   * Undefined: an attempt that died runs again, unless its effect had begun. `rerun`: that one too. `block`, or
   * somebody to ask: the effect counts as begun from the claim on.
   */
  readonly onUnknownOutcome?: OnUnknownOutcome | undefined;
  /** For all steps of a key together, as for its result. */
  readonly maxResultBytes: number;
  /** Undefined: failures are not counted. */
  readonly attempts?: AttemptsPolicy | undefined;
}

/** How often an operation that fails is tried. */
export interface AttemptsPolicy {
  /** That many runs may fail or die; then it is parked. */
  readonly max: number;
  /** How long the delivery of a message is put off after the attempt of this number has failed. */
  delayMs(attempt: number): number;
  /** Whether the message of a parked operation is acknowledged, or goes to the dead letters of its transport. */
  readonly onExhausted: 'park' | 'dead-letter';
}

/** What an entry point asks the engine to do at most once. */
export interface Operation {
  readonly identity: Identity;
  /** `recordId(identity)`. */
  readonly id: string;
  readonly fingerprint: Uint8Array;
  /** For people and hooks, for example `OrdersController.place`. */
  readonly handler: string;
  readonly policy: OperationPolicy;
  /** How many live keys its scope may have, this one included. */
  readonly maxKeysPerScope?: number;
  /** Begun by another operation, which could not end without it. */
  readonly isInner?: boolean;
  /** Whether who asks now may have the recorded outcome. Everybody, where it is not said. */
  readonly mayReplay?: () => boolean | Promise<boolean>;
  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an outcome that this entry point cannot have. */
  readonly encodeVerdict: EncodeVerdict;
}

/** How an attempt ended, in the words of the protocol. */
export type Outcome =
  | KeptOutcome
  | ReleasedOutcome
  /** Failed as often as it may. */
  | { readonly type: 'park'; readonly failure: Uint8Array | null }
  /** `failure`: as of one that is released, which in a transaction it is. */
  | { readonly type: 'uncertain'; readonly failure?: Uint8Array }
  /** Others were in the way (`attempt.runsAgain(error)`), and nothing was answered yet: undo, and run it again. */
  | { readonly type: 'again' };

/** Nothing that counts has happened: a retry may run. */
export interface ReleasedOutcome {
  readonly type: 'release';
  /** Neither success nor failure: the attempt is not counted. */
  readonly counted?: false;
  /** What the work threw, for people who look at the record once it is parked. */
  readonly failure?: Uint8Array;
}

export type KeptOutcome = (
  | { readonly type: 'complete'; readonly result: Uint8Array }
  /** Done and never to be repeated, but the result cannot be kept. */
  | { readonly type: 'tombstone' }
) &
  Ending;

interface Ending {
  /** The work came to its own end, and so must have asked for every step that an earlier attempt finished. */
  readonly returned?: true;
  /** Nobody has been told yet: when it cannot be committed because of others, the work may run again. */
  readonly repeatable?: true;
}

export type RunResult =
  /** The caller's own outcome stands. `parked`: it failed as often as it may. */
  | { readonly type: 'executed'; readonly parked?: true }
  /** Somebody else's recorded outcome is the answer. */
  | { readonly type: 'replayed'; readonly outcome: Envelope }
  /** The store was down and the policy let the work run without protection. */
  | { readonly type: 'unprotected' };

/** Whether an attempt that dies is never followed by another one without being asked about. */
export function blocksUnknownOutcomes({ onUnknownOutcome }: OperationPolicy): boolean {
  return onUnknownOutcome === 'block' || typeof onUnknownOutcome === 'function';
}

export function claimRequest(
  { id, identity, fingerprint, policy }: Operation,
  owner: string,
  mask: (key: string) => string | null,
): ClaimRequest {
  return {
    id,
    owner,
    fingerprint,
    scope: identity.scope,
    operation: identity.operation,
    key: mask(identity.key),
    leaseMs: policy.leaseMs,
    ttlMs: policy.ttlMs,
    effectStarted: blocksUnknownOutcomes(policy),
  };
}
