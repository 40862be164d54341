import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * When a client hangs up, Node stops piping to its response, and adapters destroy what they stream to
 * it. While the response is held, its bytes are still wanted: what was piped goes on to its end, and
 * is destroyed after the hold.
 */
export class KeptPipes {
  /** How to stop keeping each stream. */
  private readonly kept = new Map<Readable, () => void>();

  constructor(private readonly response: ServerResponse) {
    response.on('pipe', this.keep).on('unpipe', this.goOn);
  }

  /** From now on the stream outlives the client. One that fails is destroyed at once all the same. */
  readonly keep = (source: Readable): void => {
    if (!this.kept.has(source)) {
      this.kept.set(source, this.postponeDestroy(source));
    }
  };

  get isStreaming(): boolean {
    return [...this.kept.keys()].some((source) => !source.readableEnded && !source.destroyed);
  }

  stop(): void {
    this.response.off('pipe', this.keep).off('unpipe', this.goOn);
    this.kept.forEach((restore) => restore());
    this.kept.clear();
  }

  private readonly goOn = (source: Readable): void => {
    if (this.isGone() && this.kept.has(source) && !source.readableEnded) {
      process.nextTick(() => this.kept.has(source) && source.pipe(this.response));
    }
  };

  private postponeDestroy(source: Readable): () => void {
    const before = Object.getOwnPropertyDescriptor(source, 'destroy');
    const destroy = source.destroy;
    let isPostponed = false;
    source.destroy = (error) => {
      if (error || !this.isGone()) {
        return destroy.call(source, error);
      }
      isPostponed = true;
      return source;
    };
    return () => {
      if (before === undefined) {
        delete (source as Partial<Readable>).destroy;
      } else {
        Object.defineProperty(source, 'destroy', before);
      }
      if (isPostponed) {
        source.destroy();
      }
    };
  }

  private isGone(): boolean {
    return this.response.destroyed || this.response.req.socket?.destroyed === true;
  }
}
