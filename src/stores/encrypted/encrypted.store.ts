import type {
  BeginRequest,
  BeginResult,
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  Escape,
  IdempotencyStore,
  ListFilter,
  SettleResult,
  StoredRecord,
  StoreTransaction,
  StoreTransactions,
} from '../../engine/store.js';
import { ForwardingTransaction, ForwardingTransactions } from '../forwarding-transactions.js';
import { ForwardingStore } from '../forwarding.store.js';
import { Keyring, type EncryptionKeys } from './keyring.js';

/**
 * Another store that never sees what was answered or thrown, and no result of a step: they are encrypted with
 * AES-256-GCM. Key, scope and operation are not: `maskKey` is for the key.
 */
export class EncryptedStore extends ForwardingStore {
  private readonly records: SealedRecords;

  constructor(inner: IdempotencyStore, keys: EncryptionKeys) {
    const records = new SealedRecords(new Keyring(keys));
    super(inner, inner.transactions && new EncryptedTransactions(inner.transactions, records));
    this.records = records;
  }

  override async claim(request: ClaimRequest): Promise<ClaimResult> {
    return this.records.openClaim(request.id, await this.inner.claim(request));
  }

  override async claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    const results = await this.inner.claimMany(requests);
    return results.map((result, index) =>
      this.records.openClaim((requests[index] as ClaimRequest).id, result),
    );
  }

  override async complete(request: CompleteRequest): Promise<SettleResult> {
    return this.records.openSettled(await this.inner.complete(this.records.seal(request)));
  }

  override async completeMany(
    requests: readonly CompleteRequest[],
  ): Promise<readonly SettleResult[]> {
    const settled = await this.inner.completeMany(requests.map((each) => this.records.seal(each)));
    return settled.map((each) => this.records.openSettled(each));
  }

  override async release(claim: Claim, counted?: boolean): Promise<SettleResult> {
    return this.records.openSettled(await this.inner.release(claim, counted));
  }

  override async park(claim: Claim, result: Uint8Array | null): Promise<SettleResult> {
    const sealed = this.records.sealBytes(claim.id, result);
    return this.records.openSettled(await this.inner.park(claim, sealed));
  }

  override async markUncertain(claim: Claim): Promise<SettleResult> {
    return this.records.openSettled(await this.inner.markUncertain(claim));
  }

  override async startEffect(claim: Claim): Promise<SettleResult> {
    return this.records.openSettled(await this.inner.startEffect(claim));
  }

  override async keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult> {
    const sealed = this.records.sealBytes(claim.id, steps);
    return this.records.openSettled(await this.inner.keepSteps(claim, sealed));
  }

  override resolve(
    ...[id, verdict, owner]: Parameters<IdempotencyStore['resolve']>
  ): Promise<boolean> {
    const sealed = verdict === 'absent' ? verdict : this.records.seal({ ...verdict, id });
    return this.inner.resolve(id, sealed, owner);
  }

  override async find(id: string): Promise<StoredRecord | null> {
    const record = await this.inner.find(id);
    return record && this.records.open(record);
  }

  override async findSteps(id: string): Promise<Uint8Array | null> {
    return this.records.openBytes(id, await this.inner.findSteps(id));
  }

  override async list(filter: ListFilter): Promise<readonly StoredRecord[]> {
    const records = await this.inner.list(filter);
    return records.map((record) => this.records.open(record));
  }
}

class EncryptedTransactions extends ForwardingTransactions {
  constructor(
    inner: StoreTransactions,
    private readonly records: SealedRecords,
  ) {
    super(inner);
  }

  override async begin(
    request: BeginRequest,
    watch: (escape: Escape) => void,
  ): Promise<BeginResult> {
    const result = await this.inner.begin(request, watch);
    switch (result.type) {
      case 'busy':
        return result;
      case 'held':
        return { ...result, record: this.records.open(result.record) };
      case 'claimed': {
        const transaction = new EncryptedTransaction(result.transaction, this.records);
        return { ...result, steps: this.records.openBytes(request.id, result.steps), transaction };
      }
    }
  }

  override async open(leaseMs: number, watch: (escape: Escape) => void): Promise<StoreTransaction> {
    return new EncryptedTransaction(await this.inner.open(leaseMs, watch), this.records);
  }
}

class EncryptedTransaction extends ForwardingTransaction {
  constructor(
    inner: StoreTransaction,
    private readonly records: SealedRecords,
  ) {
    super(inner);
  }

  override complete(request: CompleteRequest): Promise<boolean> {
    return this.inner.complete(this.records.seal(request));
  }

  override keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'> {
    return this.inner.keepSteps(claim, this.records.sealBytes(claim.id, steps));
  }
}

/** Seals and opens what the contract carries. */
class SealedRecords {
  constructor(private readonly keyring: Keyring) {}

  sealBytes<T extends Uint8Array | null>(id: string, bytes: T): T {
    return (bytes === null ? null : this.keyring.seal(id, bytes)) as T;
  }

  openBytes(id: string, bytes: Uint8Array | null): Uint8Array | null {
    return bytes === null ? null : this.keyring.open(id, bytes);
  }

  seal<T extends { readonly id: string; readonly result: Uint8Array | null }>(given: T): T {
    return { ...given, result: this.sealBytes(given.id, given.result) };
  }

  open(record: StoredRecord): StoredRecord {
    return { ...record, result: this.openBytes(record.id, record.result) };
  }

  openClaim(id: string, result: ClaimResult): ClaimResult {
    return result.type === 'held'
      ? { ...result, record: this.open(result.record) }
      : { ...result, steps: this.openBytes(id, result.steps) };
  }

  openSettled(settled: SettleResult): SettleResult {
    return settled.applied || settled.record === null
      ? settled
      : { ...settled, record: this.open(settled.record) };
  }
}
