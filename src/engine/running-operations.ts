import { pause } from './timing.js';

/** What runs in this process, so that the application can wait for it before it goes. */
export class RunningOperations {
  private readonly letGos = new Set<() => void>();
  /** Made for those who wait: aborting one for nobody was the dearest part of an operation. */
  private idle: AbortController | undefined;

  /** @param letGo called when nobody waits any longer */
  enter(letGo: () => void = () => undefined): () => void {
    // a function of its own: two entries may bring the same one
    const entry = (): void => letGo();
    this.letGos.add(entry);
    return () => {
      this.letGos.delete(entry);
      if (this.letGos.size === 0) {
        this.idle?.abort();
        this.idle = undefined;
      }
    };
  }

  /** Resolves when nothing runs any more. After `ms` it lets go of what still does. */
  async end(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (this.letGos.size > 0) {
      const left = deadline - performance.now();
      if (left <= 0) {
        this.letGos.forEach((letGo) => letGo());
        return;
      }
      this.idle ??= new AbortController();
      await pause(left, this.idle.signal);
    }
  }
}
