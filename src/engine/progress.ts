import { AsyncLocalStorage } from 'node:async_hooks';
import type { Attempt } from './attempt.js';
import { IdempotencyError } from './errors.js';
import { blocksUnknownOutcomes, type OperationPolicy, type Outcome } from './operation.js';
import type { StepKeeper } from './step-keeper.js';
import type { Steps } from './steps.js';

/** The attempt whose step is running. */
const running = new AsyncLocalStorage<Progress>();

/** How far an attempt has come: its finished steps, and whether it is past the point of no return. */
export class Progress {
  constructor(
    private readonly attempt: Attempt,
    private readonly policy: OperationPolicy,
    private readonly steps: Steps,
    /** Undefined where an attempt runs without protection, and nothing is recorded. */
    private readonly keeper?: StepKeeper,
  ) {}

  async step<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    this.checkStep(name, work);
    this.checkMayBegin();
    const step = this.steps.ask(name);
    if (this.steps.isFinished(step)) {
      return this.steps.resultOf(step) as T;
    }
    const value = await running.run(this, async () => work());
    this.steps.finish(step, value);
    try {
      await this.keeper?.keep(this.steps);
    } catch (error) {
      // done, and nobody will know: where that must not be repeated, it is not
      this.attempt.effectBegun ||= blocksUnknownOutcomes(this.policy);
      throw error;
    }
    return value;
  }

  async effectStarted(): Promise<void> {
    this.checkMayBegin();
    if (!this.attempt.effectBegun) {
      await this.keeper?.startEffect();
      this.attempt.effectBegun = true;
    }
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
    const type = this.attempt.effectBegun ? 'uncertain' : 'release';
    return { outcome: { type }, problem };
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
    if (running.getStore() === this) {
      throw new IdempotencyError(
        'IDEMPOTENCY_MISCONFIGURED',
        `The step '${name}' was asked for inside of another one, whose result would hide it from a retry. ` +
          'Ask for one after the other.',
      );
    }
  }
}
