import { misused } from './errors.js';
import { uuidv7 } from './keys.js';
import { memoryStorage, PendingKey, type KeyStorage } from './pending-keys.js';
import { verdictOf, waitBefore, type Answer } from './verdict.js';

export interface IdempotencyOptions {
  /**
   * The key, or what makes it: `uuidv4`, `timeKey`, `() => contentKey(request)`. 1 to 255 characters of printable
   * ASCII. A header that the request has already counts as its key.
   * @default uuidv7
   */
  readonly key?: string | (() => string | Promise<string>);
  /**
   * What the caller wants to happen once, by name: `'order/draft-17'`. Until its outcome is known, all calls for it
   * have the key of the first, also after a reload of the page where `storage` outlives it.
   */
  readonly intent?: string;
  /**
   * Where the keys of pending intents are kept: `localStorage`, `sessionStorage` or your own.
   * @default the memory of the page or process
   */
  readonly storage?: KeyStorage;
  /**
   * Milliseconds for the whole call, with its retries and the waits between them.
   * @default 30_000
   */
  readonly deadline?: number;
  /**
   * Milliseconds for one try: one that is not answered by then is given up, and made again. `Infinity` leaves it to the
   * deadline. Where axios is given a `timeout`, that counts instead.
   * @default 10_000
   */
  readonly tryTimeout?: number;
  /**
   * The request header.
   * @default 'Idempotency-Key'
   */
  readonly header?: string;
}

/** 24 days; timers that are set to more go off at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

interface RequestHeaders {
  get(name: string): unknown;
  set(name: string, value: string): unknown;
}

/** One call of a caller: one key, and as many tries as its deadline leaves time for. */
export class Call {
  #retries = 0;

  private constructor(
    private readonly pending: PendingKey | undefined,
    private readonly giveUpAt: number,
    private readonly tryTimeout: number,
  ) {}

  /** Sets the header. Requests that change nothing need no key. */
  static async begin(
    options: IdempotencyOptions,
    method: string,
    headers: RequestHeaders,
  ): Promise<Call> {
    const {
      intent,
      deadline = 30_000,
      tryTimeout = 10_000,
      storage = memoryStorage,
      header = 'Idempotency-Key',
    } = options;
    if (!(deadline > 0 && deadline <= LONGEST_TIMER_MS)) {
      throw misused(`'deadline' is ${deadline}. Write a number of milliseconds, such as 30_000.`);
    }
    if (!(tryTimeout > 0)) {
      throw misused(
        `'tryTimeout' is ${tryTimeout}. Write a number of milliseconds, such as 10_000.`,
      );
    }
    if (intent === '') {
      throw misused("'intent' is empty. Name what is to happen once, such as 'order/draft-17'.");
    }
    const giveUpAt = performance.now() + deadline;
    if (isSafe(method)) {
      return new Call(undefined, giveUpAt, tryTimeout);
    }
    const given = headers.get(header);
    const make = async (): Promise<string> =>
      typeof given === 'string' ? given : quoted(await newKey(options.key));
    const pending = intent === undefined ? undefined : await PendingKey.take(storage, intent, make);
    headers.set(header, pending?.value ?? (await make()));
    return new Call(pending, giveUpAt, tryTimeout);
  }

  /**
   * Milliseconds that the next try may take.
   *
   * @param own a time-out of the request's own, which counts instead of `tryTimeout`
   */
  timeForTry(own?: number): number {
    return Math.min(own || this.tryTimeout, this.#remaining());
  }

  /**
   * How long to wait before the next try; `undefined` when there is none.
   *
   * @param answer `undefined` when none came
   */
  async next(answer: Answer | undefined): Promise<number | undefined> {
    const verdict = answer === undefined ? 'retry' : verdictOf(answer);
    if (verdict !== 'retry') {
      await this.pending?.settle(verdict, this.#retries > 0);
      return undefined;
    }
    this.#retries += 1;
    const wait = waitBefore(this.#retries, answer);
    return wait < this.#remaining() ? wait : undefined;
  }

  /** Milliseconds until the deadline. */
  #remaining(): number {
    return Math.max(0, this.giveUpAt - performance.now());
  }
}

export function isSafe(method: string): boolean {
  return /^(GET|HEAD|OPTIONS)$/i.test(method);
}

async function newKey(key: IdempotencyOptions['key'] = uuidv7): Promise<string> {
  const made = typeof key === 'string' ? key : await key();
  if (!/^[ -~]{1,255}$/.test(made) || made.trim() === '') {
    throw misused('The key is not 1 to 255 characters of printable ASCII. Use uuidv7().');
  }
  return made;
}

/** A structured-field String (RFC 8941, section 3.3.3), which the draft of the header asks for. */
function quoted(key: string): string {
  return `"${key.replace(/["\\]/g, '\\$&')}"`;
}
