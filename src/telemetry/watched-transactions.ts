import type {
  BeginResult,
  Claim,
  ClaimRequest,
  CompleteRequest,
  Escape,
  StoreTransaction,
  StoreTransactions,
} from '../engine/store.js';
import {
  ForwardingTransaction,
  ForwardingTransactions,
} from '../stores/forwarding-transactions.js';
import type { Timed } from './timed.js';

/** Another store's transactions. Measured is what the store does in them, not what the application does. */
export class WatchedTransactions extends ForwardingTransactions {
  constructor(
    inner: StoreTransactions,
    private readonly timed: Timed,
  ) {
    super(inner);
  }

  override async begin(
    request: ClaimRequest,
    watch: (escape: Escape) => void,
  ): Promise<BeginResult> {
    const result = await this.timed('begin', () => super.begin(request, watch));
    return result.type === 'claimed'
      ? { ...result, transaction: new WatchedTransaction(result.transaction, this.timed) }
      : result;
  }

  override async open(leaseMs: number, watch: (escape: Escape) => void): Promise<StoreTransaction> {
    const transaction = await this.timed('open', () => super.open(leaseMs, watch));
    return new WatchedTransaction(transaction, this.timed);
  }
}

class WatchedTransaction extends ForwardingTransaction {
  constructor(
    inner: StoreTransaction,
    private readonly timed: Timed,
  ) {
    super(inner);
  }

  override complete(request: CompleteRequest): Promise<boolean> {
    return this.timed('complete', () => super.complete(request));
  }

  override keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'> {
    return this.timed('keepSteps', () => super.keepSteps(claim, steps));
  }

  override commit(): Promise<void> {
    return this.timed('commit', () => super.commit());
  }

  override keepAlive(): Promise<void> {
    return this.timed('keepAlive', () => super.keepAlive());
  }
}
