import assert from 'node:assert/strict';
import type {
  ClaimRequest,
  ClaimResult,
  RecordState,
  StoredRecord,
} from '../../../src/engine/store.js';
import { plain } from '../../../src/testing/contract/bench.js';

export interface ModelRow {
  id: string;
  state: RecordState | 'released';
  owner: string;
  fingerprint: Uint8Array;
  fence: bigint;
  started: number;
  finished: number;
  takenOver: boolean;
  claimedAt: number;
  leaseUntil: number | null;
  expiresAt: number | null;
  result: Uint8Array | null;
  /** Its lease, once over, leaves it uncertain. */
  effectStarted: boolean;
  /** Uncertain only because its lease ran out: its owner may still say how it ended. */
  lapsed: boolean;
  steps: Uint8Array | null;
  /** True when cleanup may have removed this dead row: both answers are then right. */
  mayBeGone: boolean;
}

type Won = Extract<ClaimResult, { type: 'claimed' }>;

/** Every claim of a run asks for the same retention, so that it bounds when cleanup may act. */
export const CLAIM_TTL = 500;

/** What a store must answer: the state machine of one record, for several records. */
export class StoreModel {
  readonly rows = new Map<string, ModelRow>();
  /** Every claim ever won and not crashed, the stale ones included: they are what may go wrong. */
  claims: ClaimRequest[] = [];

  constructor(
    public now: number,
    public lastFence: bigint,
  ) {}

  live(id: string): ModelRow | undefined {
    const row = this.rows.get(id);
    return row && this.isLive(row) ? row : undefined;
  }

  owned(claim: { id: string; owner: string }): ModelRow | undefined {
    const row = this.live(claim.id);
    return row?.state === 'in-progress' && row.owner === claim.owner ? row : undefined;
  }

  /** The row that this owner may settle: its running one, or one that nobody has settled since its lease ran out. */
  settleable(claim: { id: string; owner: string }): ModelRow | undefined {
    const row = this.live(claim.id);
    const lapsed = row?.lapsed === true && row.owner === claim.owner ? row : undefined;
    return this.owned(claim) ?? lapsed;
  }

  advance(ms: number): void {
    this.now += ms;
    for (const row of this.rows.values()) {
      if (row.state === 'in-progress' && row.effectStarted && row.leaseUntil! <= this.now) {
        row.state = 'uncertain';
        row.leaseUntil = null;
        row.lapsed = true;
      }
    }
  }

  /** Dead from now on, but its attempts go on counting and its steps are kept. */
  discard(row: ModelRow): void {
    row.state = 'released';
    row.leaseUntil = null;
    row.lapsed = false;
  }

  park(row: ModelRow, why: Uint8Array | null): void {
    row.state = 'parked';
    row.result = why;
    row.leaseUntil = null;
    row.lapsed = false;
  }

  redrive(row: ModelRow): void {
    if (row.state === 'parked') {
      row.started = 0;
      row.finished = 0;
      row.result = null;
    }
    this.discard(row);
  }

  /** Checks a won claim against what was there before, and takes it over into the model. */
  won(request: ClaimRequest, answer: Won): void {
    const before = this.rows.get(request.id);
    assert.ok(!before || !this.isLive(before), 'won over a live record');
    const unsettled = before?.state === 'in-progress';
    const counted = unsettled || before?.state === 'released' ? before : undefined;
    const { attempt, takenOver, steps, fence, now } = answer;
    const fresh = { attempt: 1, takenOver: false, steps: null };
    const wasGone = counted?.mayBeGone === true && (counted.started > 0 || steps === null);
    const isFresh = attempt === 1 && (!counted || wasGone);
    const next = counted && {
      attempt: counted.started + 1,
      takenOver: unsettled,
      steps: counted.steps,
    };
    assert.deepEqual({ attempt, takenOver, steps }, isFresh ? fresh : next);
    assert.equal(now, this.now);
    assert.ok(fence > this.lastFence, `fence ${fence} after ${this.lastFence}`);
    this.lastFence = fence;
    this.rows.set(request.id, {
      id: request.id,
      state: 'in-progress',
      owner: request.owner,
      fingerprint: request.fingerprint,
      fence,
      started: attempt,
      finished: isFresh ? 0 : (counted?.finished ?? 0),
      takenOver,
      claimedAt: this.now,
      leaseUntil: this.now + request.leaseMs,
      expiresAt: null,
      result: null,
      effectStarted: request.effectStarted === true,
      lapsed: false,
      steps,
      mayBeGone: false,
    });
    this.claims.push(request);
  }

  keepOutcome(row: ModelRow, result: Uint8Array | null, ttlMs: number): void {
    row.state = result ? 'completed' : 'tombstone';
    row.result = result;
    row.steps = null;
    row.leaseUntil = null;
    row.lapsed = false;
    row.expiresAt = this.now + ttlMs;
  }

  /** Checks how many rows a cleanup deleted; which of them it was is its own business. */
  deleted(count: number, limit: number): void {
    const dead = [...this.rows.values()].filter((row) => !this.isLive(row));
    const may = dead.filter((row) => row.expiresAt !== null || this.isOld(row));
    // The ttl of the claim is a hint: an outcome that was given a shorter one may stay for longer.
    const must = may.filter((row) => !row.mayBeGone && this.isOld(row));
    assert.ok(count <= Math.min(limit, may.length), `${count} deleted, ${may.length} could be`);
    assert.ok(count >= Math.min(limit, must.length), `${count} deleted, ${must.length} were due`);
    for (const row of may) row.mayBeGone = true;
  }

  /** Fails unless the store's record is the model's; `null` where the model has no live one. */
  expectRecord(id: string, actual: StoredRecord | null): void {
    const row = this.live(id);
    assert.deepEqual(actual && plain(actual), row ? expected(row) : null);
  }

  expectList(actual: readonly StoredRecord[]): void {
    const rows = [...this.rows.values()].filter((row) => this.isLive(row));
    const records = rows.map((row) => ({
      ...expected(row),
      result: row.state === 'parked' ? row.result : null,
    }));
    // in whatever order the store has
    const listed = Array.from(actual, plain);
    for (const list of [listed, records]) list.sort((a, b) => (a.id < b.id ? -1 : 1));
    assert.deepEqual(listed, records);
  }

  private isLive(row: ModelRow): boolean {
    if (row.state === 'released') return false;
    if (row.state === 'uncertain' || row.state === 'parked') return true;
    return (row.leaseUntil ?? row.expiresAt ?? 0) > this.now;
  }

  private isOld(row: ModelRow): boolean {
    return row.claimedAt + CLAIM_TTL <= this.now;
  }
}

function expected(row: ModelRow): StoredRecord {
  assert.notEqual(row.state, 'released');
  return {
    id: row.id,
    state: row.state as RecordState,
    fingerprint: row.fingerprint,
    owner: row.owner,
    fence: row.fence,
    attemptsStarted: row.started,
    attemptsFinished: row.finished,
    scope: 'tenant',
    operation: 'POST /model',
    key: row.id,
    claimedAt: row.claimedAt,
    leaseUntil: row.leaseUntil,
    expiresAt: row.expiresAt,
    result: row.result,
  };
}
