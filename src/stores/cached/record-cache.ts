import { LRUCache } from 'lru-cache';
import type {
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  StoredRecord,
} from '../../engine/store.js';

export interface CacheLimits {
  readonly maxEntries: number;
  /** Of the results, and a kilobyte for what else there is of each record. */
  readonly maxBytes: number;
  /** After this long the store is asked again, in milliseconds. */
  readonly maxAgeMs: number;
}

/** When the store was asked for something. */
export interface Moment {
  readonly askedAt: number;
  readonly forgets: number;
}

/** A claim that was made, and when it was asked for. */
export interface KnownClaim {
  readonly request: ClaimRequest;
  readonly claimed: Extract<ClaimResult, { type: 'claimed' }>;
  readonly moment: Moment;
}

type Held = Extract<ClaimResult, { type: 'held' }>;

interface Entry {
  readonly held: Held;
  readonly learntAt: number;
  /** By our clock, and never after the record's expiry. */
  readonly until: number;
}

const BYTES_BESIDES_RESULT = 1_024;

/** Completed records: they do not change until they expire or are forgotten. */
export class RecordCache {
  private readonly entries: LRUCache<string, Entry>;
  /** What was read before a record was forgotten must not bring it back. */
  private forgets = 0;

  constructor(
    private readonly limits: CacheLimits,
    private readonly clock: () => number,
  ) {
    this.entries = new LRUCache({
      max: limits.maxEntries,
      maxSize: limits.maxBytes,
      sizeCalculation: ({ held }) => (held.record.result?.length ?? 0) + BYTES_BESIDES_RESULT,
    });
  }

  moment(): Moment {
    return { askedAt: this.clock(), forgets: this.forgets };
  }

  /** The record as a claim would meet it, if it is here. */
  find(id: string): Held | undefined {
    const entry = this.entries.get(id);
    const now = this.clock();
    if (entry === undefined || now >= entry.until) {
      return undefined;
    }
    return { ...entry.held, now: entry.held.now + Math.floor(now - entry.learntAt) };
  }

  /** Keeps what a claim has met, if that is an outcome. */
  keep(held: Held, { askedAt, forgets }: Moment): void {
    const { record, now } = held;
    if (record.state !== 'completed' || forgets !== this.forgets) {
      return;
    }
    const left = (record.expiresAt as number) - now; // completed, so that it has one
    // a driver's bytes may be a small part of all that it has read
    const result = Uint8Array.from(record.result as Uint8Array);
    this.entries.set(record.id, {
      held: { ...held, record: { ...record, result } },
      learntAt: askedAt,
      until: askedAt + Math.min(left, this.limits.maxAgeMs),
    });
  }

  /** Keeps a completion that is durable. Of a later attempt than the first it is not known how many have ended. */
  keepCompletion(claim: KnownClaim, { result, ttlMs }: CompleteRequest, moment: Moment): void {
    const { request, claimed } = claim;
    if (claimed.attempt > 1 || result === null) {
      return;
    }
    const now = claimed.now + Math.floor(moment.askedAt - claim.moment.askedAt);
    const { id, owner, fingerprint, scope, operation, key } = request;
    const record: StoredRecord = {
      id,
      state: 'completed',
      fingerprint,
      owner,
      fence: claimed.fence,
      attemptsStarted: 1,
      attemptsFinished: 1,
      scope,
      operation,
      key,
      claimedAt: claimed.now,
      leaseUntil: null,
      expiresAt: now + ttlMs,
      result,
    };
    this.keep({ type: 'held', record, now }, moment);
  }

  drop(id: string): void {
    this.forgets += 1;
    this.entries.delete(id);
  }
}
