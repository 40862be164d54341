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
} from '../../engine/store.js';
import {
  claimed,
  copy,
  discard,
  isLapsed,
  isLive,
  isOutcomeOf,
  newRow,
  toRecord,
} from './memory.row.js';
import type { LiveRow, Row } from './memory.row.js';

export interface MemoryStoreOptions {
  /** The store's clock, epoch milliseconds. Default: the system clock, never running backwards. */
  readonly now?: () => number;
}

/**
 * A store for tests and local development. It lives in one process and is lost when that process
 * exits, so it protects nothing in production: use a durable store there.
 */
export function memoryStore(options: MemoryStoreOptions = {}): IdempotencyStore {
  return new MemoryStore(options.now ?? steadyClock());
}

/** Every method body runs without an `await`, so that no two of them interleave. */
class MemoryStore implements IdempotencyStore {
  readonly name = 'memory';
  private readonly rows = new Map<string, Row>();
  private lastFence = 0n;

  constructor(private readonly now: () => number) {}

  async init(): Promise<void> {}

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const now = this.now();
    const live = this.live(request.id);
    if (live) {
      const sentAgain = live.state === 'in-progress' && live.owner === request.owner;
      return sentAgain ? claimed(live, now) : { type: 'held', record: toRecord(live), now };
    }
    const row = newRow(request, this.rows.get(request.id), ++this.lastFence, now);
    this.rows.set(row.id, row);
    return claimed(row, now);
  }

  async claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    return Promise.all(requests.map((request) => this.claim(request)));
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    const renewed = new Set<string>();
    for (const claim of claims) {
      const row = this.owned(claim);
      if (!row) continue;
      row.leaseUntil = this.now() + leaseMs;
      renewed.add(claim.owner);
    }
    return renewed;
  }

  async complete(request: CompleteRequest): Promise<SettleResult> {
    const row = this.owned(request) ?? this.lapsed(request);
    if (row) {
      this.keepOutcome(row, request.result, request.ttlMs);
      row.finished += 1;
      return { applied: true };
    }
    const there = this.live(request.id);
    const sentAgain = there && isOutcomeOf(there, request);
    return sentAgain ? { applied: true } : this.notApplied(request.id);
  }

  async completeMany(requests: readonly CompleteRequest[]): Promise<readonly SettleResult[]> {
    return Promise.all(requests.map((request) => this.complete(request)));
  }

  async release(claim: Claim, counted = true): Promise<SettleResult> {
    const row = this.owned(claim) ?? this.lapsed(claim);
    if (!row) return this.notApplied(claim.id);
    discard(row);
    if (counted) row.finished += 1;
    else row.started -= 1;
    return { applied: true };
  }

  async park(claim: Claim, result: Uint8Array | null): Promise<SettleResult> {
    const row = this.owned(claim) ?? this.lapsed(claim);
    if (!row) return this.notApplied(claim.id);
    row.state = 'parked';
    row.result = result && copy(result);
    row.leaseUntil = null;
    row.finished += 1;
    return { applied: true };
  }

  async markUncertain(claim: Claim): Promise<SettleResult> {
    const row = this.owned(claim) ?? this.lapsed(claim);
    if (!row) return this.notApplied(claim.id);
    row.state = 'uncertain';
    row.leaseUntil = null;
    return { applied: true };
  }

  async startEffect(claim: Claim): Promise<SettleResult> {
    const row = this.owned(claim);
    if (!row) return this.notApplied(claim.id);
    row.effectStarted = true;
    return { applied: true };
  }

  async keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult> {
    const row = this.owned(claim);
    if (!row) return this.notApplied(claim.id);
    row.steps = copy(steps);
    return { applied: true };
  }

  async resolve(
    id: string,
    verdict: 'absent' | { readonly result: Uint8Array | null; readonly ttlMs: number },
    owner?: string,
  ): Promise<boolean> {
    const row = this.live(id);
    const waits = row?.state === 'uncertain' || row?.state === 'parked';
    if (!waits || (owner ?? row.owner) !== row.owner) return false;
    if (verdict === 'absent') {
      if (row.state === 'parked') row.started = row.finished = 0;
      row.result = null;
      discard(row);
    } else this.keepOutcome(row, verdict.result, verdict.ttlMs);
    return true;
  }

  async find(id: string): Promise<StoredRecord | null> {
    const row = this.live(id);
    return row ? toRecord(row) : null;
  }

  async findSteps(id: string): Promise<Uint8Array | null> {
    const steps = this.live(id)?.steps;
    return steps ? copy(steps) : null;
  }

  async list(filter: ListFilter): Promise<readonly StoredRecord[]> {
    return this.liveOnes(filter)
      .filter((row) => filter.after === undefined || row.id > filter.after)
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, filter.limit)
      .map(toRecord)
      .map((record) => (record.state === 'parked' ? record : { ...record, result: null }));
  }

  async countRecords({ state, scope }: CountFilter, upTo: number): Promise<number> {
    const those =
      state === 'expired'
        ? this.dueOnes().filter((row) => scope === undefined || row.scope === scope)
        : this.liveOnes({ ...(state && { state }), ...(scope !== undefined && { scope }) });
    return Math.min(those.length, upTo);
  }

  async forget(id: string): Promise<boolean> {
    const row = this.live(id);
    if (row?.state === 'in-progress') return false;
    this.rows.delete(id);
    return row !== undefined;
  }

  async deleteExpired(limit: number): Promise<number> {
    const over = this.dueOnes().slice(0, limit);
    for (const row of over) this.rows.delete(row.id);
    return over.length;
  }

  async ping(): Promise<number> {
    return this.now();
  }

  private liveOnes({ state, scope }: Pick<ListFilter, 'state' | 'scope'>): LiveRow[] {
    return [...this.rows.keys()]
      .map((id) => this.live(id))
      .filter((row) => row !== undefined)
      .filter((row) => state === undefined || row.state === state)
      .filter((row) => scope === undefined || row.scope === scope);
  }

  /** Whose time is over. */
  private dueOnes(): Row[] {
    const now = this.now();
    return [...this.rows.values()].filter(
      (row) => !isLive(row, now) && (row.expiresAt ?? row.keepUntil) <= now,
    );
  }

  private live(id: string): LiveRow | undefined {
    const row = this.rows.get(id);
    if (row && isLapsed(row, this.now())) row.state = 'uncertain';
    return row && isLive(row, this.now()) ? row : undefined;
  }

  private owned(claim: Claim): Row | undefined {
    const row = this.live(claim.id);
    return row?.state === 'in-progress' && row.owner === claim.owner ? row : undefined;
  }

  /** Uncertain because its lease ran out after its effect had begun: its owner may know more. */
  private lapsed(claim: Claim): Row | undefined {
    const row = this.live(claim.id);
    const isOurs = row?.state === 'uncertain' && row.owner === claim.owner;
    return isOurs && row.leaseUntil !== null ? row : undefined;
  }

  private keepOutcome(row: Row, result: Uint8Array | null, ttlMs: number): void {
    row.state = result ? 'completed' : 'tombstone';
    row.result = result && copy(result);
    row.steps = null;
    row.leaseUntil = null;
    row.expiresAt = this.now() + ttlMs;
  }

  private notApplied(id: string): SettleResult {
    const row = this.live(id);
    return { applied: false, record: row ? toRecord(row) : null };
  }
}

/** The system clock may be set back; a lease that ran out must not come to life again. */
function steadyClock(): () => number {
  let last = 0;
  return () => (last = Math.max(last, Date.now()));
}
