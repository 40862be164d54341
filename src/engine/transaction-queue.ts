import { answerOf, checkSameRequest, inProgress } from './answers.js';
import type { Emit } from './events.js';
import type { Operation, RunResult } from './operation.js';
import type { BeginResult } from './store.js';
import { jittered, pause } from './timing.js';
import { WaitTime } from './wait-time.js';

const FIRST_POLL_MS = 25;
const SLOWEST_POLL_MS = 250;

type Held = Extract<BeginResult, { type: 'held' }>;
export type Met = Exclude<BeginResult, { type: 'claimed' }>;

/** The one request of this process that is at a key. */
interface Flight {
  readonly fingerprint: Uint8Array;
  /** What it met when it looked; undefined: it runs, or waits for another process that does. */
  readonly met: Promise<Held | undefined>;
  readonly over: Promise<void>;
}

/**
 * What an open transaction has written is seen by nobody, so those who come with the same key are told by
 * this process itself, at once and without a connection. Of all that wait for another process, one asks.
 */
export class TransactionQueue {
  private readonly flights = new Map<string, Flight>();

  constructor(
    private readonly closing: AbortSignal,
    private readonly emit: Emit,
    /** Whether the running code is inside of a transaction, and so has a connection that others wait for. */
    private readonly isInside: () => boolean,
  ) {}

  /** Answers what was recorded, or runs `perform` with what `begin` has begun. */
  async join<Begun extends object>(
    operation: Operation,
    begin: () => Promise<Begun | Met>,
    perform: (begun: Begun) => Promise<RunResult>,
  ): Promise<RunResult> {
    const waiting = new WaitTime(this.emit, operation);
    const performed = (begun: Begun) => {
      waiting.end();
      return perform(begun);
    };
    try {
      return await this.queue(operation, waiting, begin, performed);
    } finally {
      waiting.end();
    }
  }

  private async queue<Begun extends object>(
    operation: Operation,
    waiting: WaitTime,
    begin: () => Promise<Begun | Met>,
    perform: (begun: Begun) => Promise<RunResult>,
  ): Promise<RunResult> {
    const deadline = performance.now() + operation.policy.waitTimeoutMs;
    if (this.isInside()) {
      // what it sees is not committed yet, and no answer for anybody else
      return this.ask(operation, deadline, waiting, begin, perform, () => undefined);
    }
    for (;;) {
      const flight = this.flights.get(operation.id);
      if (flight === undefined) {
        return this.lead(operation, deadline, waiting, begin, perform);
      }
      const met = await flight.met;
      if (met !== undefined) {
        return answerOf(met.record, operation.fingerprint, met.now);
      }
      if (this.flights.get(operation.id) !== flight) {
        continue; // it is over already: look what it has left
      }
      checkSameRequest(flight.fingerprint, operation.fingerprint);
      const left = this.timeToWait(operation, deadline);
      waiting.begin();
      const timeOut = new AbortController();
      await Promise.race([
        flight.over,
        pause(left, timeOut.signal),
        aborted(this.closing, timeOut.signal),
      ]);
      timeOut.abort();
    }
  }

  private async lead<Begun extends object>(
    operation: Operation,
    deadline: number,
    waiting: WaitTime,
    begin: () => Promise<Begun | Met>,
    perform: (begun: Begun) => Promise<RunResult>,
  ): Promise<RunResult> {
    const meeting = deferred<Held | undefined>();
    meeting.promise.catch(() => undefined);
    const flying = deferred<void>();
    const { fingerprint, id } = operation;
    this.flights.set(id, { fingerprint, met: meeting.promise, over: flying.promise });
    try {
      const answer = this.ask(operation, deadline, waiting, begin, perform, meeting.resolve);
      // where the store does not answer one, it does not answer the others either
      answer.catch((error: unknown) => meeting.reject(error));
      return await answer;
    } finally {
      this.flights.delete(id);
      meeting.resolve(undefined);
      flying.resolve();
    }
  }

  private async ask<Begun extends object>(
    operation: Operation,
    deadline: number,
    waiting: WaitTime,
    begin: () => Promise<Begun | Met>,
    perform: (begun: Begun) => Promise<RunResult>,
    meet: (met: Held | undefined) => void,
  ): Promise<RunResult> {
    const { fingerprint } = operation;
    let delay = FIRST_POLL_MS;
    for (;;) {
      const begun = await begin();
      if (!isMet(begun)) {
        meet(undefined);
        return perform(begun);
      }
      if (begun.type === 'held' && begun.record.state !== 'in-progress') {
        meet(begun);
        return answerOf(begun.record, fingerprint, begun.now);
      }
      if (begun.type === 'held') {
        checkSameRequest(begun.record.fingerprint, fingerprint);
      }
      meet(undefined);
      const left = this.timeToWait(operation, deadline);
      waiting.begin();
      await pause(jittered(Math.min(delay, left)), this.closing);
      delay = Math.min(delay * 2, SLOWEST_POLL_MS);
    }
  }

  /** @throws IdempotencyError `IDEMPOTENCY_IN_PROGRESS` when there is none. */
  private timeToWait({ policy }: Operation, deadline: number): number {
    const left = deadline - performance.now();
    // inside of a transaction one would wait for who may need its connection
    const waits = policy.onConcurrent === 'wait' && !this.isInside();
    if (!waits || left <= 0 || this.closing.aborted) {
      throw inProgress();
    }
    return left;
  }
}

export function isMet(begun: object): begun is Met {
  return 'type' in begun && (begun.type === 'held' || begun.type === 'busy');
}

function deferred<T>(): Deferred<T> {
  let resolve!: Deferred<T>['resolve'];
  let reject!: Deferred<T>['reject'];
  const promise = new Promise<T>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  return { promise, resolve, reject };
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

function aborted(signal: AbortSignal, until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true, signal: until });
  });
}
