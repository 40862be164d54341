import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Claim, ClaimRequest, IdempotencyStore, StoredRecord } from '../../engine/store.js';

/** What a store author hands to the contract suite for every case: an empty, initialised store. */
export interface StoreUnderTest {
  readonly store: IdempotencyStore;
  /**
   * Moves the store's clock, which otherwise stands still, by whole milliseconds. Without it the
   * suite waits in real time.
   */
  advance?(ms: number): Promise<void>;
  /** Called after the case. */
  close?(): Promise<void>;
}

export interface Claimed extends Claim {
  readonly request: ClaimRequest;
  readonly fence: bigint;
  readonly attempt: number;
  readonly takenOver: boolean;
  readonly steps: Uint8Array | null;
  readonly now: number;
}

export type ContractCase = (name: string, body: (bench: Bench) => Promise<void>) => void;

export const MINUTE = 60_000;
export const TEN_YEARS = 10 * 365 * 24 * 60 * MINUTE;

/** The steps that cases are made of. */
export class Bench {
  readonly store: IdempotencyStore;
  /** True when time only moves when a case says so, and can be compared to the millisecond. */
  readonly clockStandsStill: boolean;
  /** A duration for what a case only waits to be over. */
  readonly brief = 50;
  /** A duration for what a case must still find alive, on a slow machine too, before it is over. */
  readonly aWhile = 1_000;

  constructor(private readonly subject: StoreUnderTest) {
    this.store = subject.store;
    this.clockStandsStill = subject.advance !== undefined;
  }

  /** A claim for a record of its own, alive for a minute and kept for an hour. */
  request(given: Partial<ClaimRequest> = {}): ClaimRequest {
    return {
      id: randomId(),
      owner: randomId(),
      fingerprint: randomBytes(17),
      scope: 'tenant-1',
      operation: 'POST /payments',
      key: 'order-42',
      leaseMs: MINUTE,
      ttlMs: 60 * MINUTE,
      ...given,
    };
  }

  /** Claims, and fails unless the claim wins. */
  async claim(given: Partial<ClaimRequest> = {}): Promise<Claimed> {
    const request = this.request(given);
    const result = await this.store.claim(request);
    if (result.type !== 'claimed') assert.fail(`expected to win the claim, met ${show(result)}`);
    const { id, owner } = request;
    const steps = result.steps && new Uint8Array(result.steps);
    return { ...result, steps, id, owner, request };
  }

  /** Claims, and fails unless a live record holds the claim off. */
  async held(given: Partial<ClaimRequest>): Promise<StoredRecord> {
    const result = await this.store.claim(this.request(given));
    if (result.type !== 'held') assert.fail(`expected to be held off, got ${show(result)}`);
    return result.record;
  }

  /** A claim whose owner died: its lease is over and nobody settled it. */
  async abandoned(given: Partial<ClaimRequest> = {}): Promise<Claimed> {
    const claim = await this.claim({ leaseMs: this.brief, ...given });
    await this.wait(claim.request.leaseMs);
    return claim;
  }

  async completed(
    result: Uint8Array | null = bytes('done'),
    ttlMs = 60 * MINUTE,
  ): Promise<Claimed> {
    const claim = await this.claim();
    await this.complete(claim, result, ttlMs);
    return claim;
  }

  async uncertain(): Promise<Claimed> {
    const claim = await this.claim();
    assert.deepEqual(await this.store.markUncertain(claim), { applied: true });
    return claim;
  }

  async parked(why: Uint8Array | null = bytes('why')): Promise<Claimed> {
    const claim = await this.claim();
    await this.park(claim, why);
    return claim;
  }

  /** Parks, and fails unless that was applied. */
  async park(claim: Claim, why: Uint8Array | null): Promise<void> {
    assert.deepEqual(await this.store.park(claim, why), { applied: true });
  }

  /** A claim whose effect has begun. */
  async effective(given: Partial<ClaimRequest> = {}): Promise<Claimed> {
    const claim = await this.claim(given);
    assert.deepEqual(await this.store.startEffect(claim), { applied: true });
    return claim;
  }

  /** A claim whose owner died after its effect had begun. */
  async lapsed(given: Partial<ClaimRequest> = {}): Promise<Claimed> {
    const claim = await this.effective(given);
    await this.lapse(claim);
    return claim;
  }

  /** Lets the lease of a live claim run out, in no more time than it takes. */
  async lapse(claim: Claim): Promise<void> {
    // what that answers may be late by as much on a real clock
    await this.store.renew([claim], this.brief);
    await this.wait(this.brief);
  }

  /** Keeps steps, and fails unless that was applied. */
  async keep(claim: Claim, steps: Uint8Array): Promise<void> {
    assert.deepEqual(await this.store.keepSteps(claim, steps), { applied: true });
  }

  async released(): Promise<Claimed> {
    const claim = await this.claim();
    assert.deepEqual(await this.store.release(claim), { applied: true });
    return claim;
  }

  /** Completes, and fails unless that was applied. */
  async complete(claim: Claim, result: Uint8Array | null, ttlMs = 60 * MINUTE): Promise<void> {
    const { id, owner } = claim;
    assert.deepEqual(await this.store.complete({ id, owner, result, ttlMs }), { applied: true });
  }

  async live(id: string): Promise<StoredRecord> {
    const record = await this.store.find(id);
    assert.ok(record, 'expected a live record');
    return plain(record);
  }

  async dead(id: string): Promise<void> {
    assert.equal(await this.store.find(id), null, 'expected no live record');
  }

  /** Runs `action` and fails if it changed what the store answers about the record. */
  async unchanged<T>(id: string, action: () => Promise<T>): Promise<T> {
    const before = await this.store.find(id);
    const answer = await action();
    const after = await this.store.find(id);
    assert.deepEqual(after && plain(after), before && plain(before));
    return answer;
  }

  /** Fails unless the time that `action` answers lies `ms` after the moment it ran. */
  async dated(ms: number, action: () => Promise<number | null>): Promise<void> {
    const from = await this.store.ping();
    const time = await action();
    const to = await this.store.ping();
    assert.ok(time !== null && Number.isInteger(time), `expected epoch milliseconds, got ${time}`);
    assert.ok(time - ms >= from && time - ms <= to, `${time} is not ${ms} ms after ${from}–${to}`);
  }

  /** Two readings of the clock in one operation may be a moment apart, if the clock moves. */
  sameMoment(actual: number | null, expected: number): void {
    const apart = Math.abs((actual ?? NaN) - expected);
    assert.ok(apart <= (this.clockStandsStill ? 0 : 1_000), `${actual} is not ${expected}`);
  }

  /** Lets `ms` pass by the store's clock. */
  async wait(ms: number): Promise<void> {
    if (this.subject.advance) return this.subject.advance(ms);
    const end = (await this.store.ping()) + ms;
    while ((await this.store.ping()) < end) await pause(10);
  }
}

export function randomId(): string {
  return randomBytes(16).toString('hex');
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** A `Buffer` and a `Uint8Array` of the same bytes are the same answer. */
export function plain(record: StoredRecord): StoredRecord {
  const { fingerprint, result } = record;
  return {
    ...record,
    fingerprint: new Uint8Array(fingerprint),
    result: result && new Uint8Array(result),
  };
}

export function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'bigint' ? part.toString() : part,
  );
}
