import type {
  BeginRequest,
  BeginResult,
  CompleteRequest,
  Escape,
  StoreTransaction,
  StoreTransactions,
} from '../../engine/store.js';
import { ForwardingTransaction, ForwardingTransactions } from '../forwarding-transactions.js';
import type { KnownClaim, Moment, RecordCache } from './record-cache.js';

/** Transactions whose outcomes are kept in memory too, once they are committed. */
export class CachedTransactions extends ForwardingTransactions {
  constructor(
    inner: StoreTransactions,
    private readonly cache: RecordCache,
  ) {
    super(inner);
  }

  override async begin(
    request: BeginRequest,
    watch: (escape: Escape) => void,
  ): Promise<BeginResult> {
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

class CachedTransaction extends ForwardingTransaction {
  private completion: { readonly request: CompleteRequest; readonly moment: Moment } | undefined;

  constructor(
    inner: StoreTransaction,
    private readonly claim: KnownClaim,
    private readonly cache: RecordCache,
  ) {
    super(inner);
  }

  override async complete(request: CompleteRequest): Promise<boolean> {
    const moment = this.cache.moment();
    const isWhole = await this.inner.complete(request);
    this.completion = isWhole ? { request, moment } : undefined;
    return isWhole;
  }

  override async commit(): Promise<void> {
    await this.inner.commit();
    if (this.completion !== undefined) {
      const { request, moment } = this.completion;
      this.cache.keepCompletion(this.claim, request, moment);
    }
  }
}
