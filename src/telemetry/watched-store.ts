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
  Upkeep,
} from '../engine/store.js';
import { ForwardingStore } from '../stores/forwarding.store.js';
import type { Instruments } from './instruments.js';
import { timer, type Timed } from './timed.js';
import { WatchedTransactions } from './watched-transactions.js';

/** Another store, whose calls are measured. */
export class WatchedStore extends ForwardingStore {
  private readonly timed: Timed;

  constructor(inner: IdempotencyStore, instruments: () => Instruments) {
    const timed = timer(inner, instruments);
    super(inner, inner.transactions && new WatchedTransactions(inner.transactions, timed));
    this.timed = timed;
  }

  override claim(request: ClaimRequest): Promise<ClaimResult> {
    return this.timed('claim', () => super.claim(request));
  }

  override claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    return this.timed('claimMany', () => super.claimMany(requests));
  }

  override renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    return this.timed('renew', () => super.renew(claims, leaseMs));
  }

  override complete(request: CompleteRequest): Promise<SettleResult> {
    return this.timed('complete', () => super.complete(request));
  }

  override completeMany(requests: readonly CompleteRequest[]): Promise<readonly SettleResult[]> {
    return this.timed('completeMany', () => super.completeMany(requests));
  }

  override release(claim: Claim, counted?: boolean): Promise<SettleResult> {
    return this.timed('release', () => super.release(claim, counted));
  }

  override park(claim: Claim, result: Uint8Array | null): Promise<SettleResult> {
    return this.timed('park', () => super.park(claim, result));
  }

  override markUncertain(claim: Claim): Promise<SettleResult> {
    return this.timed('markUncertain', () => super.markUncertain(claim));
  }

  override startEffect(claim: Claim): Promise<SettleResult> {
    return this.timed('startEffect', () => super.startEffect(claim));
  }

  override keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult> {
    return this.timed('keepSteps', () => super.keepSteps(claim, steps));
  }

  override resolve(...verdict: Parameters<IdempotencyStore['resolve']>): Promise<boolean> {
    return this.timed('resolve', () => super.resolve(...verdict));
  }

  override find(id: string): Promise<StoredRecord | null> {
    return this.timed('find', () => super.find(id));
  }

  override list(filter: ListFilter): Promise<readonly StoredRecord[]> {
    return this.timed('list', () => super.list(filter));
  }

  override countRecords(filter: CountFilter, upTo: number): Promise<number> {
    return this.timed('countRecords', () => super.countRecords(filter, upTo));
  }

  override forget(id: string): Promise<boolean> {
    return this.timed('forget', () => super.forget(id));
  }

  override deleteExpired(limit: number): Promise<number> {
    return this.timed('deleteExpired', () => super.deleteExpired(limit));
  }

  override maintain(): Promise<Upkeep> {
    return this.timed('maintain', () => super.maintain());
  }

  override ping(): Promise<number> {
    return this.timed('ping', () => super.ping());
  }

  override check(): Promise<void> {
    return this.timed('check', () => super.check());
  }
}
