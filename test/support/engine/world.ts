import { jest } from '@jest/globals';
import type fc from 'fast-check';
import type { Attempt } from '../../../src/engine/attempt.js';
import { IdempotencyEngine } from '../../../src/engine/engine.js';
import { decodeEnvelope } from '../../../src/engine/envelope.js';
import { fingerprint } from '../../../src/engine/fingerprint.js';
import { recordId } from '../../../src/engine/identity.js';
import type { Operation, OperationPolicy, Outcome } from '../../../src/engine/operation.js';
import type { Claim, IdempotencyStore } from '../../../src/engine/store.js';
import { memoryStore } from '../../../src/stores/memory/index.js';
import { complete, POLICY, RELEASE, TOMBSTONE, UNCERTAIN } from './bench.js';

const LEASE = POLICY.leaseMs;
const identity = { namespace: '', scope: '', operation: 'http', key: 'k' };
const never = new Promise<never>(() => {});
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

export interface Plan {
  readonly end: 'complete' | 'release' | 'uncertain' | 'tombstone' | 'throw';
  readonly onConcurrent: OperationPolicy['onConcurrent'];
  readonly losesClaimReply: boolean;
  readonly losesSettleReply: boolean;
  readonly onUnknownOutcome?: OperationPolicy['onUnknownOutcome'];
  /** Its effect is a step, which is over before the work is. */
  readonly isStep?: boolean;
}

/**
 * Processes with an engine each, on one store. The scheduler decides when a call reaches the store, when
 * its reply arrives, when work begins and ends, when time passes and when a process dies.
 */
export class World {
  readonly store = memoryStore({ now: () => Date.now() });
  readonly effects: number[] = [];
  readonly answers = new Map<number, string>();
  /** How many effects there had been when the first step answered. */
  effectsAtFirstStep: number | undefined;
  /** Owners in the order in which the store made them so, and outcomes in the order it took them. */
  readonly claims: string[] = [];
  readonly recorded: { owner: string; text: string; stale: boolean }[] = [];
  private readonly dead = new Set<number>();
  private readonly engines: IdempotencyEngine[] = [];

  constructor(private readonly scheduler: fc.Scheduler) {}

  async start(index: number, plan: Plan): Promise<void> {
    const engine = this.engine(this.scheduled(index, plan));
    await engine.start();
    const work = async (attempt: Attempt): Promise<Outcome> => {
      await this.point(index, 'begins');
      if (plan.isStep === true) {
        try {
          await attempt.step('effect', () => this.effect(index));
        } catch {
          return RELEASE;
        }
        this.effectsAtFirstStep ??= this.effects.length;
      } else {
        this.effects.push(index);
      }
      await this.point(index, 'ends');
      return outcomeOf(plan, index);
    };
    void engine.run(operation(plan), work).then(
      (result) =>
        this.answers.set(
          index,
          result.type === 'replayed' ? `replayed ${textOf(result.outcome.body)}` : result.type,
        ),
      (error: { code?: string }) => this.answers.set(index, error.code ?? 'crashed'),
    );
  }

  tick(ms: number): void {
    void this.scheduler
      .schedule(Promise.resolve(), `${ms} ms pass`)
      .then(() => jest.advanceTimersByTime(ms));
  }

  kill(index: number): void {
    void this.scheduler
      .schedule(Promise.resolve(), `${index} dies`)
      .then(() => this.dead.add(index));
  }

  /** Until everybody who lives has an answer. Time passes by itself only when nothing else can happen. */
  async play(processes: number): Promise<void> {
    for (let idle = 0; idle < 1_000;) {
      if (this.scheduler.count() > 0) {
        await this.scheduler.waitNext(1);
        continue;
      }
      const waiting = Array.from({ length: processes }, (_, index) => index).filter(
        (index) => !this.dead.has(index) && !this.answers.has(index),
      );
      if (waiting.length === 0) {
        return;
      }
      idle += 1;
      await jest.advanceTimersByTimeAsync(50);
    }
    throw new Error('Somebody waits for ever.');
  }

  /** What a client gets who comes back when every lease is over. */
  async afterwards(plan: Partial<Plan> = {}): Promise<string> {
    for (const engine of this.engines) {
      engine.stop();
    }
    jest.advanceTimersByTime(2 * LEASE);
    const engine = this.engine(this.store);
    await engine.start();
    try {
      const result = await engine.run(operation(plan), async (attempt) => {
        if (plan.isStep === true) {
          await attempt.step('effect', async () => this.effects.push(NaN));
        }
        return complete('late');
      });
      return result.type === 'replayed' ? `replayed ${textOf(result.outcome.body)}` : result.type;
    } catch (error) {
      return (error as { code: string }).code;
    } finally {
      engine.stop();
      jest.clearAllTimers();
    }
  }

  private engine(store: IdempotencyStore): IdempotencyEngine {
    const engine = new IdempotencyEngine({
      store,
      storeTimeoutMs: 10_000_000, // that a store which is slow counts as down is another matter
      emit: () => {},
      mask: () => null,
    });
    this.engines.push(engine);
    return engine;
  }

  private async effect(index: number): Promise<void> {
    this.effects.push(index);
    await this.point(index, 'has had its effect');
  }

  private async point(index: number, label: string): Promise<void> {
    await this.scheduler.schedule(Promise.resolve(), `${index} ${label}`);
    if (this.dead.has(index)) {
      await never;
    }
  }

  private scheduled(index: number, plan: Plan): IdempotencyStore {
    let { losesClaimReply, losesSettleReply } = plan;
    const call = async <T>(label: string, apply: () => Promise<T>): Promise<T> => {
      await this.point(index, label);
      const answer = await apply();
      await this.point(index, `${label}: reply`);
      return answer;
    };
    const settle = async <T>(claim: Claim, text: string, apply: () => Promise<T>): Promise<T> => {
      const settled = await call(text, async () => {
        const stale = this.claims.at(-1) !== claim.owner;
        const answer = await apply();
        if ((answer as { applied: boolean }).applied) {
          this.recorded.push({ owner: claim.owner, text, stale });
        }
        return answer;
      });
      if (losesSettleReply && (settled as { applied: boolean }).applied) {
        losesSettleReply = false;
        throw new Error('read ECONNRESET');
      }
      return settled;
    };
    const { store } = this;
    const used: Partial<IdempotencyStore> = {
      name: 'scheduled',
      init: () => store.init(),
      claim: async (request) => {
        const answer = await call('claim', async () => {
          const result = await store.claim(request);
          if (result.type === 'claimed') {
            this.claims.push(request.owner);
          }
          return result;
        });
        if (losesClaimReply) {
          losesClaimReply = false;
          throw new Error('read ECONNRESET');
        }
        return answer;
      },
      renew: (claims, leaseMs) => call('renew', () => store.renew(claims, leaseMs)),
      keepSteps: (claim, steps) => call('keep', () => store.keepSteps(claim, steps)),
      resolve: (id, verdict) => call('resolve', () => store.resolve(id, verdict)),
      find: (id) => call('find', () => store.find(id)),
      release: (claim) => settle(claim, 'release', () => store.release(claim)),
      markUncertain: (claim) => settle(claim, 'uncertain', () => store.markUncertain(claim)),
      complete: (request) =>
        settle(
          request,
          `outcome ${request.result === null ? 'unkept' : textOf(decodeEnvelope(request.result).body)}`,
          () => store.complete(request),
        ),
    };
    return used as IdempotencyStore;
  }
}

function operation({ onConcurrent = 'reject', onUnknownOutcome }: Partial<Plan>): Operation {
  return {
    identity,
    id: recordId(identity),
    fingerprint: fingerprint(identity, {}),
    handler: 'h',
    policy: { ...POLICY, onConcurrent, onUnknownOutcome },
    encodeVerdict: () => new Uint8Array(),
  };
}

function outcomeOf({ end }: Plan, index: number): Outcome {
  switch (end) {
    case 'complete':
      return complete(String(index));
    case 'release':
      return RELEASE;
    case 'uncertain':
      return UNCERTAIN;
    case 'tombstone':
      return TOMBSTONE;
    case 'throw':
      throw new Error('crash');
  }
}
