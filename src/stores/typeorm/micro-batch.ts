import { AsyncResource } from 'node:async_hooks';

const LARGEST_BATCH = 100;
const MOST_IN_FLIGHT = 2;
/** A statement that takes longer may wait for somebody's lock, and nobody waits for it. */
const SLOW_MS = 50;

interface Waiting<T, R> {
  readonly item: T;
  readonly resolve: (answer: R) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Sends what arrives in one turn of the event loop, or while earlier statements are under way, in one statement. What
 * arrives alone goes alone, as if this were not here.
 */
export class MicroBatch<T extends { readonly id: string }, R> {
  private waiting: Waiting<T, R>[] = [];
  private inFlight = 0;
  private isDue = false;
  /** Records for which a statement of their own is under way, because no other could be answered with them. */
  private readonly apart = new Set<string>();
  /** A statement that is for many must not run in the context, nor in a transaction, of the one who came first. */
  private readonly nobody = new AsyncResource('IdempotencyMicroBatch');

  /**
   * @param alone sends one
   * @param together sends many, in the order given. `undefined`, and an error for all of them: to be sent alone.
   */
  constructor(
    private readonly alone: (item: T) => Promise<R>,
    private readonly together: (items: readonly T[]) => Promise<readonly (R | undefined)[]>,
  ) {}

  add(item: T): Promise<R> {
    if (this.apart.has(item.id)) {
      return this.alone(item);
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.isDue || this.waiting.length === 0 || this.inFlight >= MOST_IN_FLIGHT) {
      return;
    }
    this.isDue = true;
    const flush = (): void => {
      this.isDue = false;
      void this.send(this.waiting.splice(0, LARGEST_BATCH));
      this.schedule();
    };
    this.nobody.runInAsyncScope(() => setImmediate(flush));
  }

  private async send(batch: readonly Waiting<T, R>[]): Promise<void> {
    this.inFlight += 1;
    let isUnderWay = true;
    const land = (): void => {
      clearTimeout(slow);
      this.inFlight -= isUnderWay ? 1 : 0;
      isUnderWay = false;
      this.schedule();
    };
    const slow = setTimeout(land, SLOW_MS).unref();
    const [first, ...others] = batch;
    if (others.length === 0) {
      await this.alone(first!.item).then(first!.resolve, first!.reject);
      return land();
    }
    let answers: readonly (R | undefined)[] = [];
    try {
      answers = await this.together(batch.map(({ item }) => item));
    } catch {
      // whose fault it was is seen when each is sent alone
    }
    land();
    for (const [index, each] of batch.entries()) {
      const answer = answers[index];
      if (answer === undefined) {
        this.sendApart(each);
      } else {
        each.resolve(answer);
      }
    }
  }

  private sendApart({ item, resolve, reject }: Waiting<T, R>): void {
    this.apart.add(item.id);
    const over = (): void => void this.apart.delete(item.id);
    this.alone(item).finally(over).then(resolve, reject);
  }
}
