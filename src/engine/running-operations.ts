import { pause } from './timing.js';

/** @param isItsFault it counts as a failure of the operation, not as one of its surroundings */
type LetGo = (reason: string, isItsFault: boolean) => void;

/** What runs in this process, so that the application can wait for it before it goes. */
export class RunningOperations {
  private readonly entries = new Set<{ readonly letGo: LetGo | undefined }>();
  /** Made for those who wait: aborting one for nobody was the dearest part of an operation. */
  private idle: AbortController | undefined;

  /** @param letGo called when it must not go on */
  enter(letGo?: LetGo): () => void {
    const entry = { letGo };
    this.entries.add(entry);
    return () => {
      this.entries.delete(entry);
      if (this.entries.size === 0) {
        this.idle?.abort();
        this.idle = undefined;
      }
    };
  }

  /** Resolves when nothing runs any more. After `ms` it lets go of what still does. */
  async end(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (this.entries.size > 0) {
      const left = deadline - performance.now();
      if (left <= 0) {
        this.letGo('The application is shutting down.', false);
        return;
      }
      this.idle ??= new AbortController();
      await pause(left, this.idle.signal);
    }
  }

  /** Answers how many operations it was that had something to lose. */
  letGo(...why: Parameters<LetGo>): number {
    const owners = [...this.entries].filter(({ letGo }) => letGo !== undefined);
    owners.forEach(({ letGo }) => letGo?.(...why));
    return owners.length;
  }
}
