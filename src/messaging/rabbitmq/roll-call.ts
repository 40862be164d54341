const taken = new WeakMap<object, RollCall>();

/**
 * Who of the decorated handlers of one delivery is there. Nest gives up all handlers of an event once one of them
 * has failed, and never gets to those whose guards are still asked: their delivery would be settled by nobody.
 */
export class RollCall {
  private readonly everybody: Promise<void>;
  private complete!: () => void;

  /** @param handlers how many are to come */
  static of(message: object, handlers: number): RollCall {
    const call = taken.get(message) ?? new RollCall(handlers);
    taken.set(message, call);
    return call;
  }

  private constructor(private missing: number) {
    this.everybody = new Promise((resolve) => {
      this.complete = resolve;
    });
  }

  answer(): void {
    this.missing -= 1;
    if (this.missing === 0) {
      this.complete();
    }
  }

  /** For a handler that failed: then it may be told. */
  everybodyIsThere(): Promise<void> {
    return this.everybody;
  }
}
