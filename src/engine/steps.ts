import { checkSameRequest } from './answers.js';
import { decodeEnvelope, encodeEnvelope, unreadable } from './envelope.js';
import { IdempotencyError } from './errors.js';
import { deserialize, serialize } from './value.js';

/** A step that has been asked for: which one it is of its attempt, counted from 0. */
export interface Step {
  readonly position: number;
  readonly name: string;
}

interface FinishedStep extends Step {
  /** `null` where the step is done but its result cannot be kept. */
  readonly result: Uint8Array | null;
  readonly isUndone?: boolean;
}

/** How steps are written down beside their results, which follow one another in the body. */
interface Table {
  /** Of the request whose steps these are, in hex. */
  readonly fingerprint: string;
  readonly steps: readonly (readonly [position: number, name: string, bytes: number | null])[];
}

/**
 * The steps of one attempt: which are asked for, and which are finished, by it or by earlier attempts of its key.
 * A step is known by its name and by its place among the calls; whatever does not fit together is refused.
 * Nothing here saves anything: `encode()` gives the bytes to save.
 */
export class Steps {
  /** Why this attempt cannot be trusted to go on where an earlier one ended. */
  problem: IdempotencyError | undefined;
  private readonly finished = new Map<number, FinishedStep>();
  private readonly asked = new Map<string, Step>();
  private bytes = 0;

  constructor(
    private readonly fingerprint: Uint8Array,
    /** What the results of all steps of a key may add up to. */
    private readonly maxBytes: number,
    recorded: readonly FinishedStep[] = [],
  ) {
    recorded.forEach((step) => this.keep(step));
  }

  /** @throws IdempotencyError `…_KEY_REUSED` when they are another request's, `…_RECORD_UNREADABLE` */
  static decode(bytes: Uint8Array | null, fingerprint: Uint8Array, maxBytes: number): Steps {
    if (bytes === null) {
      return new Steps(fingerprint, maxBytes);
    }
    const { table, body } = readTable(bytes);
    checkSameRequest(Buffer.from(table.fingerprint, 'hex'), fingerprint);
    let end = 0;
    const steps = table.steps.map(([position, name, length]): FinishedStep => {
      const start = end;
      end += length ?? 0;
      return { position, name, result: length === null ? null : body.subarray(start, end) };
    });
    return new Steps(fingerprint, maxBytes, steps);
  }

  /** The bytes to save, with one more step as if it were finished already. */
  encode(more?: Step, value?: unknown): Uint8Array {
    const added = more === undefined ? [] : [this.finishedStep(more, value)];
    const steps = [...this.finished.values(), ...added].filter(({ isUndone }) => isUndone !== true);
    const table: Table = {
      fingerprint: Buffer.from(this.fingerprint).toString('hex'),
      steps: steps.map(({ position, name, result }) => [position, name, result?.length ?? null]),
    };
    const body = Buffer.concat(steps.flatMap(({ result }) => result ?? []));
    return encodeEnvelope({ kind: 'steps', meta: { ...table }, body });
  }

  /**
   * The next step, by its name.
   *
   * @throws IdempotencyError `IDEMPOTENCY_STEPS_CHANGED`
   */
  ask(name: string): Step {
    if (this.asked.has(name)) {
      throw this.changed(
        `The step '${name}' was asked for twice in one attempt. Give each step a name of its own.`,
      );
    }
    const step: Step = { position: this.asked.size, name };
    this.asked.set(name, step);
    const there = this.finished.get(step.position);
    if (there !== undefined && there.name !== name) {
      throw this.changed(
        `The step '${name}' was asked for where an earlier attempt had the step '${there.name}'. ` +
          ADVICE,
      );
    }
    const before = [...this.finished.values()].find((each) => each.name === name);
    if (before !== undefined && before.position !== step.position) {
      throw this.changed(
        `The step '${name}' was number ${before.position + 1} in an earlier attempt and is number ` +
          `${step.position + 1} now. ${ADVICE}`,
      );
    }
    return step;
  }

  /** How many outlast the attempt. */
  get durable(): number {
    return [...this.finished.values()].filter(({ isUndone }) => isUndone !== true).length;
  }

  isFinished({ position }: Step): boolean {
    return this.finished.has(position);
  }

  /** @throws IdempotencyError `…_RESULT_UNAVAILABLE` for a result that could not be kept, `…_RECORD_UNREADABLE` */
  resultOf({ position, name }: Step): unknown {
    const result = this.finished.get(position)?.result ?? null;
    if (result === null) {
      throw new IdempotencyError(
        'IDEMPOTENCY_RESULT_UNAVAILABLE',
        `The step '${name}' was carried out by an earlier attempt, but its result could not be kept. It is ` +
          'not run again. Return plain data from steps, within maxResultBytes for all of them together.',
      );
    }
    return deserialize(result);
  }

  /**
   * Takes a step down as finished, with its result if that can be kept. One that is undone together with its
   * attempt is finished for this attempt only.
   */
  finish(step: Step, value: unknown, isUndone = false): void {
    this.keep({ ...this.finishedStep(step, value), isUndone });
  }

  private finishedStep(step: Step, value: unknown): FinishedStep {
    const result = serialize(value);
    const fits = result !== undefined && this.bytes + result.length <= this.maxBytes;
    return { ...step, result: fits ? result : null };
  }

  /** Every step that an earlier attempt finished must be asked for again before its outcome counts. */
  checkAllAsked(): void {
    const forgotten = [...this.finished.values()].find(({ name }) => !this.asked.has(name));
    if (forgotten !== undefined && this.problem === undefined) {
      this.changed(
        `The step '${forgotten.name}' was finished by an earlier attempt, and this one has not asked for it. ` +
          ADVICE,
      );
    }
  }

  private keep(step: FinishedStep): void {
    this.finished.set(step.position, step);
    this.bytes += step.result?.length ?? 0;
  }

  private changed(sentence: string): IdempotencyError {
    this.problem = new IdempotencyError('IDEMPOTENCY_STEPS_CHANGED', sentence);
    return this.problem;
  }
}

/**
 * The names of the steps that are kept, in their order.
 *
 * @throws IdempotencyError `…_RECORD_UNREADABLE`
 */
export function stepNames(bytes: Uint8Array | null): string[] {
  return bytes === null
    ? []
    : readTable(bytes)
        .table.steps.toSorted(([a], [b]) => a - b)
        .map(([, name]) => name);
}

function readTable(bytes: Uint8Array): { table: Table; body: Uint8Array } {
  const { kind, meta, body } = decodeEnvelope(bytes);
  if (kind !== 'steps') {
    throw unreadable('it does not hold steps');
  }
  return { table: meta as unknown as Table, body };
}

const ADVICE =
  'Steps must be asked for by the same names in the same order in every attempt. Bring back the code that ' +
  'the earlier attempt ran, or look what it has done.';
