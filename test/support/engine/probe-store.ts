import type { IdempotencyStore } from '../../../src/engine/store.js';

type Method = Exclude<keyof IdempotencyStore, 'name'>;

/** What happens to a call instead of an answer; `apply` hands it on to the store. */
export type Fault = <T>(apply: () => Promise<T>) => Promise<T>;

/** The store is not reached. */
export const fails: Fault = async () => {
  throw new Error('connect ECONNREFUSED');
};

export const failsWith =
  (error: Error): Fault =>
  () =>
    Promise.reject(error);

/** The store does what it was asked, and the caller never learns so. */
export const losesReply: Fault = async (apply) => {
  await apply();
  throw new Error('read ECONNRESET');
};

export const hangs: Fault = () => new Promise(() => {});

/** Not even a promise: a third-party store may fail like this. */
export const throws: Fault = () => {
  throw new Error('not connected');
};

export const passes: Fault = (apply) => apply();

/** Reaches the store after `ms`. */
export function late(ms: number): Fault {
  return async (apply) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return apply();
  };
}

/** A sound store whose calls are counted, and may be made to fail. */
export class ProbeStore implements IdempotencyStore {
  readonly name = 'probe';
  private readonly calls: { readonly method: Method; readonly args: readonly unknown[] }[] = [];
  private readonly planned = new Map<Method, Fault[]>();
  private readonly lasting = new Map<Method, Fault>();

  constructor(private readonly inner: IdempotencyStore) {}

  /** The next calls of `method` meet these faults, one each. */
  plan(method: Method, ...faults: Fault[]): void {
    this.planned.set(method, faults);
  }

  /** Every call of `method` meets this fault until `heal()`. */
  breakDown(fault: Fault, ...methods: Method[]): void {
    for (const method of methods) {
      this.lasting.set(method, fault);
    }
  }

  heal(): void {
    this.planned.clear();
    this.lasting.clear();
  }

  count(method: Method): number {
    return this.argumentsOf(method).length;
  }

  /** Every call so far: `claim complete`, … */
  get history(): string {
    return this.calls.map(({ method }) => method).join(' ');
  }

  argumentsOf(method: Method): (readonly unknown[])[] {
    return this.calls.filter((call) => call.method === method).map(({ args }) => args);
  }

  init = this.probed('init');
  claim = this.probed('claim');
  claimMany = this.probed('claimMany');
  completeMany = this.probed('completeMany');
  renew = this.probed('renew');
  complete = this.probed('complete');
  release = this.probed('release');
  park = this.probed('park');
  markUncertain = this.probed('markUncertain');
  startEffect = this.probed('startEffect');
  keepSteps = this.probed('keepSteps');
  resolve = this.probed('resolve');
  find = this.probed('find');
  findSteps = this.probed('findSteps');
  list = this.probed('list');
  countRecords = this.probed('countRecords');
  forget = this.probed('forget');
  deleteExpired = this.probed('deleteExpired');
  ping = this.probed('ping');

  private probed<Name extends Method>(method: Name): IdempotencyStore[Name] {
    const call = (...args: unknown[]): Promise<unknown> => {
      this.calls.push({ method, args });
      const fault = this.planned.get(method)?.shift() ?? this.lasting.get(method) ?? passes;
      const inner = this.inner[method] as (...given: unknown[]) => Promise<unknown>;
      return fault(() => inner.apply(this.inner, args));
    };
    return call as IdempotencyStore[Name];
  }
}
