/** What is asked of a job; every `Job` of BullMQ has it. */
export interface QueuedJob {
  readonly id?: string | undefined;
  /** When it was added, in milliseconds since 1970. */
  readonly timestamp: number;
  /** Prefix and name of its queue. */
  readonly queueQualifiedName: string;
  /** The lock of the worker that runs it. */
  readonly token?: string | undefined;
  moveToDelayed(timestamp: number, token?: string): Promise<void>;
}
