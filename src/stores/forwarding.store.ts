import { checkStore } from '../engine/check-store.js';
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  CountFilter,
  IdempotencyStore,
  ListFilter,
  SettleResult,
  StoredRecord,
  StoreTransactions,
  Upkeep,
} from '../engine/store.js';

/** Another store as it is: for stores that change a part of what another one does. */
export class ForwardingStore implements IdempotencyStore {
  constructor(
    protected readonly inner: IdempotencyStore,
    readonly transactions: StoreTransactions | undefined = inner.transactions,
  ) {}

  get name(): string {
    return this.inner.name;
  }

  get warnings(): readonly string[] {
    return this.inner.warnings ?? [];
  }

  init(): Promise<void> {
    return this.inner.init();
  }

  claim(request: ClaimRequest): Promise<ClaimResult> {
    return this.inner.claim(request);
  }

  claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    return this.inner.claimMany(requests);
  }

  renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    return this.inner.renew(claims, leaseMs);
  }

  complete(request: CompleteRequest): Promise<SettleResult> {
    return this.inner.complete(request);
  }

  completeMany(requests: readonly CompleteRequest[]): Promise<readonly SettleResult[]> {
    return this.inner.completeMany(requests);
  }

  release(claim: Claim, counted?: boolean): Promise<SettleResult> {
    return this.inner.release(claim, counted);
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

  findSteps(id: string): Promise<Uint8Array | null> {
    return this.inner.findSteps(id);
  }

  list(filter: ListFilter): Promise<readonly StoredRecord[]> {
    return this.inner.list(filter);
  }

  countRecords(filter: CountFilter, upTo: number): Promise<number> {
    return this.inner.countRecords(filter, upTo);
  }

  async scopeWarning(): Promise<string | undefined> {
    return this.inner.scopeWarning?.();
  }

  forget(id: string): Promise<boolean> {
    return this.inner.forget(id);
  }

  deleteExpired(limit: number): Promise<number> {
    return this.inner.deleteExpired(limit);
  }

  async maintain(): Promise<Upkeep> {
    return (await this.inner.maintain?.()) ?? { deleted: 0 };
  }

  ping(): Promise<number> {
    return this.inner.ping();
  }

  check(): Promise<void> {
    return checkStore(this.inner);
  }
}
