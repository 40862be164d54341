import type {
  BeginResult,
  ClaimRequest,
  CompleteRequest,
  Escape,
  StoreTransaction,
  StoreTransactions,
} from '../../engine/store.js';
import type { KnownClaim, Moment, RecordCache } from './record-cache.js';

/** Transactions whose outcomes are kept in memory too, once they are committed. */
export class CachedTransactions implements StoreTransactions {
  constructor(
    private readonly inner: StoreTransactions,
    private readonly cache: RecordCache,
  ) {}

  get warning(): string | undefined {
    return this.inner.warning;
  }

  isInside(): boolean {
    return this.inner.isInside();
  }

  open(leaseMs: number, watch: (escape: Escape) => void): Promise<StoreTransaction> {
    return this.inner.open(leaseMs, watch);
  }

  async begin(request: ClaimRequest, watch: (escape: Escape) => void): Promise<BeginResult> {
    const known = this.cache.find(request.id);
    if (known !== undefined) {
      return known;
    }
    // what a part of a transaction meets, or completes, may be undone with the whole
    const isPart = this.inner.isInside();
    const moment = this.cache.moment();
    const result = await this.inner.begin(request, watch);
    if (isPart || result.type === 'busy') {
      return result;
    }
    if (result.type === 'held') {
      this.cache.keep(result, moment);
      return result;
    }
    const claim: KnownClaim = { request, claimed: result, moment };
    return { ...result, transaction: new CachedTransaction(result.transaction, claim, this.cache) };
  }
}

class CachedTransaction implements StoreTransaction {
  private completion: { readonly request: CompleteRequest; readonly moment: Moment } | undefined;

  constructor(
    private readonly inner: StoreTransaction,
    private readonly claim: KnownClaim,
    private readonly cache: RecordCache,
  ) {}

  get statements(): number {
    return this.inner.statements;
  }

  get isLeft(): boolean {
    return this.inner.isLeft;
  }

  async complete(request: CompleteRequest): Promise<boolean> {
    const moment = this.cache.moment();
    const isWhole = await this.inner.complete(request);
    this.completion = isWhole ? { request, moment } : undefined;
    return isWhole;
  }

  async commit(): Promise<void> {
    await this.inner.commit();
    if (this.completion !== undefined) {
      const { request, moment } = this.completion;
      this.cache.keepCompletion(this.claim, request, moment);
    }
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.inner.run(work);
  }

  keepSteps(...kept: Parameters<StoreTransaction['keepSteps']>): Promise<'kept' | 'lost' | 'left'> {
    return this.inner.keepSteps(...kept);
  }

  rollback(): Promise<void> {
    return this.inner.rollback();
  }

  abandon(): Promise<void> {
    return this.inner.abandon();
  }

  keepAlive(): Promise<void> {
    return this.inner.keepAlive();
  }

  isConflict(error: unknown): boolean {
    return this.inner.isConflict(error);
  }

  isRefusal(error: unknown): boolean {
    return this.inner.isRefusal(error);
  }
}
