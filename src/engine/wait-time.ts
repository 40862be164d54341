import type { Emit } from './events.js';

/** How long one operation waits for another attempt of its key, told when it is over. */
export class WaitTime {
  private since: number | undefined;

  constructor(
    private readonly emit: Emit,
    private readonly operation: { readonly handler: string; readonly id: string },
  ) {}

  begin(): void {
    this.since ??= performance.now();
  }

  end(): void {
    if (this.since !== undefined) {
      const { handler, id } = this.operation;
      this.emit('onWaited', { handler, record: id, ms: performance.now() - this.since });
      this.since = undefined;
    }
  }
}
