import { LRUCache } from 'lru-cache';
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  IdempotencyStore,
  ListFilter,
  SettleResult,
  StoredRecord,
  StoreTransactions,
} from '../../engine/store.js';
import { CachedTransactions } from './cached-transactions.js';
import { RecordCache, type CacheLimits, type KnownClaim, type Moment } from './record-cache.js';

/** Of more claims at once, the oldest are found out in the store when they are replayed. */
const MOST_CLAIMS = 10_000;

/**
 * Another store, whose completed records are kept in memory too, once they are durable there: a replay then
 * needs no round trip. Nothing else is kept, above all not that a key is free.
 */
export class CachedStore implements IdempotencyStore {
  readonly transactions?: StoreTransactions;
  private readonly cache: RecordCache;
  /** By owner, until they are settled. */
  private readonly claims = new LRUCache<string, KnownClaim>({ max: MOST_CLAIMS });

  constructor(
    private readonly inner: IdempotencyStore,
    limits: CacheLimits,
    /** Milliseconds; never runs backwards. */
    clock: () => number = () => performance.now(),
  ) {
    this.cache = new RecordCache(limits, clock);
    if (inner.transactions !== undefined) {
      this.transactions = new CachedTransactions(inner.transactions, this.cache);
    }
  }

  get name(): string {
    return this.inner.name;
  }

  init(): Promise<void> {
    return this.inner.init();
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const known = this.cache.find(request.id);
    if (known !== undefined) {
      return known;
    }
    const moment = this.cache.moment();
    const result = await this.inner.claim(request);
    this.note(request, result, moment);
    return result;
  }

  async claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    const known = new Map(requests.map(({ id }) => [id, this.cache.find(id)]));
    const unknown = requests.filter(({ id }) => known.get(id) === undefined);
    const moment = this.cache.moment();
    const results = unknown.length > 0 ? await this.inner.claimMany(unknown) : [];
    unknown.forEach((request, index) => this.note(request, results[index] as ClaimResult, moment));
    const rest = results.values();
    return requests.map(({ id }) => known.get(id) ?? (rest.next().value as ClaimResult));
  }

  async complete(request: CompleteRequest): Promise<SettleResult> {
    const moment = this.cache.moment();
    const settled = await this.inner.complete(request);
    this.noteCompletion(request, settled, moment);
    return settled;
  }

  async completeMany(requests: readonly CompleteRequest[]): Promise<readonly SettleResult[]> {
    const moment = this.cache.moment();
    const settled = await this.inner.completeMany(requests);
    requests.forEach((request, index) =>
      this.noteCompletion(request, settled[index] as SettleResult, moment),
    );
    return settled;
  }

  async forget(id: string): Promise<boolean> {
    this.cache.drop(id);
    try {
      return await this.inner.forget(id);
    } finally {
      this.cache.drop(id);
    }
  }

  release(claim: Claim, counted?: boolean): Promise<SettleResult> {
    this.claims.delete(claim.owner);
    return this.inner.release(claim, counted);
  }

  renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    return this.inner.renew(claims, leaseMs);
  }

  park(claim: Claim, result: Uint8Array | null): Promise<SettleResult> {
    return this.inner.park(claim, result);
  }

  markUncertain(claim: Claim): Promise<SettleResult> {
    return this.inner.markUncertain(claim);
  }

  startEffect(claim: Claim): Promise<SettleResult> {
    return this.inner.startEffect(claim);
  }

  keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult> {
    return this.inner.keepSteps(claim, steps);
  }

  resolve(...verdict: Parameters<IdempotencyStore['resolve']>): Promise<boolean> {
    return this.inner.resolve(...verdict);
  }

  find(id: string): Promise<StoredRecord | null> {
    return this.inner.find(id);
  }

  list(filter: ListFilter): Promise<readonly StoredRecord[]> {
    return this.inner.list(filter);
  }

  deleteExpired(limit: number): Promise<number> {
    return this.inner.deleteExpired(limit);
  }

  ping(): Promise<number> {
    return this.inner.ping();
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
