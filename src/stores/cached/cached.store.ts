import { LRUCache } from 'lru-cache';
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  IdempotencyStore,
  SettleResult,
} from '../../engine/store.js';
import { ForwardingStore } from '../forwarding.store.js';
import { CachedTransactions } from './cached-transactions.js';
import { RecordCache, type CacheLimits, type KnownClaim, type Moment } from './record-cache.js';

/** Of more claims at once, the oldest are found out in the store when they are replayed. */
const MOST_CLAIMS = 10_000;

/**
 * Another store, whose completed records are kept in memory too, once they are durable there: a replay then
 * needs no round trip. Nothing else is kept, above all not that a key is free.
 */
export class CachedStore extends ForwardingStore {
  private readonly cache: RecordCache;
  /** By owner, until they are settled. */
  private readonly claims = new LRUCache<string, KnownClaim>({ max: MOST_CLAIMS });

  constructor(
    inner: IdempotencyStore,
    limits: CacheLimits,
    /** Milliseconds; never runs backwards. */
    clock: () => number = () => performance.now(),
  ) {
    const cache = new RecordCache(limits, clock);
    super(inner, inner.transactions && new CachedTransactions(inner.transactions, cache));
    this.cache = cache;
  }

  override async claim(request: ClaimRequest): Promise<ClaimResult> {
    const known = this.cache.find(request.id);
    if (known !== undefined) {
      return known;
    }
    const moment = this.cache.moment();
    const result = await this.inner.claim(request);
    this.note(request, result, moment);
    return result;
  }

  override async claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    const known = new Map(requests.map(({ id }) => [id, this.cache.find(id)]));
    const unknown = requests.filter(({ id }) => known.get(id) === undefined);
    const moment = this.cache.moment();
    const results = unknown.length > 0 ? await this.inner.claimMany(unknown) : [];
    unknown.forEach((request, index) => this.note(request, results[index] as ClaimResult, moment));
    const rest = results.values();
    return requests.map(({ id }) => known.get(id) ?? (rest.next().value as ClaimResult));
  }

  override async complete(request: CompleteRequest): Promise<SettleResult> {
    const moment = this.cache.moment();
    const settled = await this.inner.complete(request);
    this.noteCompletion(request, settled, moment);
    return settled;
  }

  override async completeMany(
    requests: readonly CompleteRequest[],
  ): Promise<readonly SettleResult[]> {
    const moment = this.cache.moment();
    const settled = await this.inner.completeMany(requests);
    requests.forEach((request, index) =>
      this.noteCompletion(request, settled[index] as SettleResult, moment),
    );
    return settled;
  }

  override async forget(id: string): Promise<boolean> {
    this.cache.drop(id);
    try {
      return await this.inner.forget(id);
    } finally {
      this.cache.drop(id);
    }
  }

  override release(claim: Claim, counted?: boolean): Promise<SettleResult> {
    this.claims.delete(claim.owner);
    return this.inner.release(claim, counted);
  }

  private note(request: ClaimRequest, result: ClaimResult, moment: Moment): void {
    if (result.type === 'held') {
      this.cache.keep(result, moment);
    } else {
      this.claims.set(request.owner, { request, claimed: result, moment });
    }
  }

  private noteCompletion(request: CompleteRequest, settled: SettleResult, moment: Moment): void {
    const claim = this.claims.get(request.owner);
    this.claims.delete(request.owner);
    if (claim !== undefined && settled.applied) {
      this.cache.keepCompletion(claim, request, moment);
    }
  }
}
