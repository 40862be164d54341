import type {
  BeginRequest,
  BeginResult,
  Claim,
  CompleteRequest,
  Escape,
  StoreTransaction,
  StoreTransactions,
} from '../engine/store.js';

/** Another store's transactions as they are. */
export class ForwardingTransactions implements StoreTransactions {
  constructor(protected readonly inner: StoreTransactions) {}

  get warning(): string | undefined {
    return this.inner.warning;
  }

  isInside(): boolean {
    return this.inner.isInside();
  }

  begin(request: BeginRequest, watch: (escape: Escape) => void): Promise<BeginResult> {
    return this.inner.begin(request, watch);
  }

  open(leaseMs: number, watch: (escape: Escape) => void): Promise<StoreTransaction> {
    return this.inner.open(leaseMs, watch);
  }
}

/** Another store's transaction as it is. */
export class ForwardingTransaction implements StoreTransaction {
  constructor(protected readonly inner: StoreTransaction) {}

  get statements(): number {
    return this.inner.statements;
  }

  get isLeft(): boolean {
    return this.inner.isLeft;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.inner.run(work);
  }

  complete(request: CompleteRequest): Promise<boolean> {
    return this.inner.complete(request);
  }

  keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'> {
    return this.inner.keepSteps(claim, steps);
  }

  commit(): Promise<void> {
    return this.inner.commit();
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
