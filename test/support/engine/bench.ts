import { jest } from '@jest/globals';
import type { Attempt } from '../../../src/engine/attempt.js';
import { IdempotencyEngine } from '../../../src/engine/engine.js';
import { encodeEnvelope } from '../../../src/engine/envelope.js';
import { IdempotencyError } from '../../../src/engine/errors.js';
import { emitterFor, type IdempotencyHooks } from '../../../src/engine/events.js';
import { fingerprint } from '../../../src/engine/fingerprint.js';
import { newOwner, recordId } from '../../../src/engine/identity.js';
import type {
  KeptOutcome,
  Operation,
  OperationPolicy,
  Outcome,
  RunResult,
} from '../../../src/engine/operation.js';
import type { Claim } from '../../../src/engine/store.js';
import type { Telemetry } from '../../../src/engine/telemetry.js';
import { memoryStore } from '../../../src/stores/memory/index.js';
import { ProbeStore } from './probe-store.js';

export const STORE_TIMEOUT = 1_000;
export const POLICY: OperationPolicy = {
  mode: 'lease',
  strict: false,
  ttlMs: 86_400_000,
  leaseMs: 6_000,
  maxDurationMs: 60_000,
  onConcurrent: 'reject',
  waitTimeoutMs: 5_000,
  expiredKeys: 'refuse',
  onStoreFailure: 'closed',
  maxResultBytes: 1_000,
};

export interface OperationOptions extends Partial<OperationPolicy> {
  readonly key?: string;
  readonly payload?: unknown;
  readonly isInner?: boolean;
  readonly maxKeysPerScope?: number;
}

/** What a caller gets: the result's type and text, or the code of the error. */
export type Answer = string;

/**
 * An engine on a store whose faults and clock a test decides, under fake timers: nothing here takes
 * real time.
 */
export class Bench {
  /** What hooks were told, in order, without handler and record. */
  readonly events: Record<string, unknown>[] = [];
  readonly store: ProbeStore;
  readonly engine: IdempotencyEngine;
  /** How many times work began. */
  runs = 0;
  /** How far the store's clock is ahead of this process's. */
  skew = 0;

  constructor(store?: ProbeStore, telemetry?: Telemetry) {
    this.store = store ?? new ProbeStore(memoryStore({ now: () => Date.now() + this.skew }));
    this.engine = new IdempotencyEngine({
      store: this.store,
      storeTimeoutMs: STORE_TIMEOUT,
      emit: emitterFor(this.hooks()),
      mask: () => null,
      telemetry,
    });
  }

  static async started(store?: ProbeStore): Promise<Bench> {
    const bench = new Bench(store);
    await bench.engine.start();
    return bench;
  }

  operation({
    key = 'k',
    payload,
    isInner = false,
    maxKeysPerScope,
    ...policy
  }: OperationOptions = {}): Operation {
    const identity = { namespace: '', scope: 'alice', operation: 'http', key };
    return {
      identity,
      id: recordId(identity),
      fingerprint: fingerprint(identity, { payload }),
      handler: 'Orders.place',
      policy: { ...POLICY, ...policy },
      isInner,
      ...(maxKeysPerScope !== undefined && { maxKeysPerScope }),
      encodeVerdict: (verdict) => {
        if (!('result' in verdict)) {
          throw new IdempotencyError('IDEMPOTENCY_MISCONFIGURED', 'Not here.');
        }
        return recorded(String(verdict.result));
      },
    };
  }

  /** Runs work that ends at once with the given outcome; text stands for a result. */
  run(end: Outcome | string = 'done', options: OperationOptions = {}): Promise<Answer> {
    return this.work(async () => end, options);
  }

  /** Runs work that a test writes; text stands for a result. */
  work(
    body: (attempt: Attempt) => Promise<Outcome | string>,
    options: OperationOptions = {},
  ): Promise<Answer> {
    const answer = this.engine.run(this.operation(options), async (attempt) => {
      this.runs += 1;
      const end = await body(attempt);
      return typeof end === 'string' ? complete(end) : end;
    });
    return answer.then(textOf, codeOf);
  }

  /** Runs work that goes on until `end` is called; answers once the work has begun. */
  begin(options: OperationOptions = {}): Promise<Running> {
    return new Promise((resolve, reject) => {
      const answer: Promise<Answer> = this.work(
        (attempt) =>
          new Promise((end) =>
            resolve({
              attempt,
              end,
              get answer() {
                return answer;
              },
            }),
          ),
        options,
      );
      void answer.then((text) => reject(new Error(`Nothing ran: ${text}.`)));
    });
  }

  get record(): ReturnType<ProbeStore['find']> {
    return this.store.find(this.operation().id);
  }

  /** A claim of another process: nothing in this one renews it or calls those who wait for it. */
  async claimedElsewhere(
    leaseMs: number,
    fingerprint = this.operation().fingerprint,
  ): Promise<Claim> {
    const claim = { id: this.operation().id, owner: newOwner() };
    const forPeople = { scope: null, operation: null, key: null };
    await this.store.claim({ ...claim, ...forPeople, fingerprint, leaseMs, ttlMs: POLICY.ttlMs });
    return claim;
  }

  /** The names of the hooks called so far. */
  get told(): string[] {
    return this.events.map(({ hook }) => hook as string);
  }

  private hooks(): IdempotencyHooks {
    const tell = (hook: string) => (event: object) => {
      const { handler: _handler, record: _record, ...rest } = event as Record<string, unknown>;
      this.events.push({ hook, ...rest });
    };
    return {
      onExecuted: tell('onExecuted'),
      onReplayed: tell('onReplayed'),
      onRejected: tell('onRejected'),
      onTakenOver: tell('onTakenOver'),
      onLeaseLost: tell('onLeaseLost'),
      onReleased: tell('onReleased'),
      onUncertain: tell('onUncertain'),
      onParked: tell('onParked'),
      onEscaped: tell('onEscaped'),
      onUnprotected: tell('onUnprotected'),
      onRecordingFailed: tell('onRecordingFailed'),
    };
  }
}

export interface Running {
  readonly attempt: Attempt;
  readonly answer: Promise<Answer>;
  end(outcome: Outcome | string): void;
}

/** Text in the form in which outcomes are stored. */
export function recorded(text: string): Uint8Array {
  return encodeEnvelope({ kind: 'value', meta: {}, body: Buffer.from(text) });
}

export function complete(text: string): KeptOutcome {
  return { type: 'complete', result: recorded(text), returned: true };
}

/** A failure that is kept as the outcome: the work is undone, nothing was returned. */
export function failed({ returned: _returned, ...outcome }: KeptOutcome): Outcome {
  return outcome;
}

export const RELEASE: Outcome = { type: 'release' };
export const UNCERTAIN: Outcome = { type: 'uncertain' };
export const TOMBSTONE: Outcome = { type: 'tombstone' };

/** Fake timers for a whole spec file; promises and `setImmediate` stay real. */
export function useFakeTime(): void {
  beforeEach(() => {
    jest.useFakeTimers({
      now: 1_700_000_000_000,
      doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'],
    });
  });
  afterEach(() => {
    jest.useRealTimers();
  });
}

/** Lets `ms` pass, timers and promises included. */
export async function pass(ms: number): Promise<void> {
  await jest.advanceTimersByTimeAsync(ms);
}

/** Whether a promise has an answer yet. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = {};
  return (await Promise.race([promise, pass(0).then(() => pending)])) === pending;
}

function textOf(result: RunResult): Answer {
  return result.type === 'replayed'
    ? `replayed ${Buffer.from(result.outcome.body).toString()}`
    : result.type;
}

function codeOf(error: unknown): Answer {
  const { code, message } = error as { code?: string; message: string };
  return code === undefined ? `error: ${message}` : code.replace('IDEMPOTENCY_', '');
}
