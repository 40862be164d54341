import { AsyncLocalStorage } from 'node:async_hooks';
import { storeUnavailable } from './answers.js';
import type { Attempt } from './attempt.js';
import { IdempotencyError } from './errors.js';
import { encodeFailure } from './last-failure.js';
import { lengthPrefixed } from './identity.js';
import type { Outcome } from './operation.js';
import type { Step, Steps } from './steps.js';

/** Where finished steps, and the point of no return, are made durable. */
export interface Keeper {
  /** Runs the work of a step and takes it down as finished, as durably as it can be. */
  step<T>(steps: Steps, step: Step, work: () => Promise<T>): Promise<T>;
  /** The same, so that work on the store's database and the result are one. */
  transaction<T>(steps: Steps, step: Step, work: () => Promise<T>): Promise<T>;
  /** Resolves when the point is durable. */
  startEffect(): Promise<void>;
}

/** A step that runs, or what an attempt does outside of steps. */
interface Stretch {
  readonly step: string;
  /** How many messages of each pattern it has written. */
  readonly messages: Map<string, number>;
}

/** The attempt whose step is running. */
const running = new AsyncLocalStorage<Stretch & { readonly progress: Progress }>();

/** How far an attempt has come: its finished steps, and whether it is past the point of no return. */
export class Progress {
  private readonly outside: Stretch = { step: '', messages: new Map() };

  constructor(
    private readonly attempt: Attempt,
    private readonly steps: Steps,
    /** Undefined where an attempt runs without protection, and nothing is recorded. */
    private readonly keeper?: Keeper,
  ) {}

  async step<T>(name: string, work: () => T | Promise<T>, isTransaction = false): Promise<T> {
    this.checkStep(name, work);
    this.checkMayBegin();
    const step = this.steps.ask(name);
    if (this.steps.isFinished(step)) {
      return this.steps.resultOf(step) as T;
    }
    const run = () =>
      running.run({ progress: this, step: name, messages: new Map() }, async () => work());
    if (this.keeper === undefined) {
      if (isTransaction) {
        throw storeUnavailable(new Error('there is no store to commit the step in'));
      }
      return run();
    }
    return isTransaction
      ? this.keeper.transaction(this.steps, step, run)
      : this.keeper.step(this.steps, step, run);
  }

  async effectStarted(): Promise<void> {
    this.checkMayBegin();
    if (!this.attempt.effectBegun) {
      await this.keeper?.startEffect();
      this.attempt.effectBegun = true;
    }
  }

  /**
   * The name of the next message of this pattern. Those of a step are counted for themselves: a retry that
   * skips the step must not take what comes after it for them.
   */
  nextMessage(pattern: string): string {
    const inside = running.getStore();
    const { step, messages } = inside?.progress === this ? inside : this.outside;
    const ordinal = (messages.get(pattern) ?? 0) + 1;
    messages.set(pattern, ordinal);
    return lengthPrefixed(['nestjs-idempotency/message/1', step, pattern, String(ordinal)]);
  }

  /** What an outcome amounts to after all that the attempt has begun, and why it cannot stand if it cannot. */
  conclude(outcome: Outcome): { readonly outcome: Outcome; readonly problem?: IdempotencyError } {
    if ('returned' in outcome) {
      this.steps.checkAllAsked();
    }
    const { problem } = this.steps;
    if (problem === undefined && outcome.type !== 'release') {
      return { outcome };
    }
    if (this.attempt.effectBegun) {
      return { outcome: { type: 'uncertain' }, problem };
    }
    if (problem === undefined) {
      return { outcome };
    }
    return { outcome: { type: 'release', failure: encodeFailure(problem) }, problem };
  }

  private checkMayBegin(): void {
    this.attempt.checkRunning();
    if (this.steps.problem !== undefined) {
      throw this.steps.problem;
    }
  }

  private checkStep(name: string, work: unknown): void {
    if (typeof name !== 'string' || name === '' || typeof work !== 'function') {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        "A step needs a name and a function. Write once.step('charge', () => …).",
      );
    }
    if (running.getStore()?.progress === this) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        `The step '${name}' was asked for inside of another one, whose result would hide it from a retry. ` +
          'Ask for one after the other.',
      );
    }
  }
}
