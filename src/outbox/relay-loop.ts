import { jittered, pause, within } from '../engine/timing.js';
import type { Sink } from './message.js';
import type { Claimed } from './outbox-rows.js';
import type { OutboxTable } from './outbox-table.js';
import type { OutboxSettings } from './outbox.settings.js';

const LONGEST_BACKOFF_MS = 60 * 60 * 1_000;

/** The messages of one sink: claims what is due, publishes it outside of any transaction, and settles it. */
export class RelayLoop {
  private readonly onTheirWay = new Map<string, Promise<void>>();
  /** Sent, and not yet settled. */
  private sent: Claimed[] = [];
  private settling: Promise<void> | undefined;
  private running: Promise<void> | undefined;
  private isStopped = false;
  /** Somebody has called since the last look. */
  private isCalled = false;
  private endRest: () => void = () => undefined;

  constructor(
    private readonly name: string,
    private readonly sink: Sink,
    private readonly table: OutboxTable,
    private readonly settings: OutboxSettings,
    /** Which relay has the lease: 32 hex digits. */
    private readonly owner: string,
    /** Told when the database does not answer. */
    private readonly complain: (what: string, error: unknown) => void,
  ) {}

  start(): void {
    this.running ??= this.run();
  }

  /** There may be something to do. */
  wake(): void {
    this.isCalled = true;
    this.endRest();
  }

  /** Claims nothing more. */
  close(): void {
    this.isStopped = true;
    this.endRest();
  }

  /** Finishes what is on its way, and gives the rest back after `ms`. */
  async stop(ms: number): Promise<void> {
    this.close();
    await Promise.race([this.finished(), pause(ms)]);
    const rest = [...this.onTheirWay.keys()];
    if (rest.length > 0) {
      await this.quietly('given back', () => this.table.giveBack(rest, this.owner));
    }
  }

  private async finished(): Promise<void> {
    await this.running;
    await Promise.all(this.onTheirWay.values());
    await this.settling;
  }

  private async run(): Promise<void> {
    while (!this.isStopped) {
      this.isCalled = false;
      const room = this.settings.batchSize - this.onTheirWay.size;
      // many at once, rather than one for each that has left
      const claimed = room * 2 > this.settings.batchSize ? await this.claim(room) : [];
      if (this.isStopped) {
        await this.giveBack(claimed);
        return;
      }
      for (const each of claimed) {
        this.onTheirWay.set(each.seq, this.send(each));
      }
      if (claimed.length === 0 && !this.isCalled) {
        await this.rest();
      }
    }
  }

  private async claim(limit: number): Promise<Claimed[]> {
    const { leaseMs } = this.settings;
    const { name: sink, owner } = this;
    const claiming = () => this.table.claim({ sink, owner, limit, leaseMs });
    return (await this.quietly('claimed', claiming)) ?? [];
  }

  private async giveBack(claimed: readonly Claimed[]): Promise<void> {
    if (claimed.length > 0) {
      const seqs = claimed.map(({ seq }) => seq);
      await this.quietly('given back', () => this.table.giveBack(seqs, this.owner));
    }
  }

  private async rest(): Promise<void> {
    const called = new AbortController();
    this.endRest = () => called.abort();
    await pause(jittered(this.settings.pollIntervalMs), called.signal);
    this.endRest = () => undefined;
  }

  private async send(claimed: Claimed): Promise<void> {
    try {
      if (claimed.attempt > this.settings.maxAttempts) {
        throw new UnfinishedError();
      }
      // another relay may have the message once the lease is over
      await within(this.settings.leaseMs / 2, this.publish(claimed));
    } catch (error) {
      await this.failed(claimed, error);
      return;
    }
    this.sent.push(claimed);
    this.settling ??= this.settle();
    await this.settling;
  }

  private async publish(claimed: Claimed): Promise<void> {
    await this.sink.publish(claimed.message());
  }

  /** All that were sent meanwhile in one statement. */
  private async settle(): Promise<void> {
    await Promise.resolve();
    while (this.sent.length > 0) {
      const batch = this.sent.splice(0);
      const seqs = batch.map(({ seq }) => seq);
      const isKept = this.settings.keepSentMs !== undefined;
      const marking = () => this.table.markSent(seqs, this.owner, isKept);
      const settled = await this.quietly('marked as sent', marking);
      for (const claimed of batch.filter(({ seq }) => settled?.includes(seq))) {
        this.settings.tell('onSent', this.event(claimed));
      }
      this.left(batch);
    }
    this.settling = undefined;
  }

  private async failed(claimed: Claimed, error: unknown): Promise<void> {
    const { maxAttempts, backoffMs, tell } = this.settings;
    const { attempt } = claimed;
    const isLast = attempt >= maxAttempts;
    const pauseMs = Math.min(backoffMs * 2 ** Math.min(attempt - 1, 30), LONGEST_BACKOFF_MS);
    const retryInMs = isLast ? undefined : Math.round(jittered(pauseMs));
    const failure = { seq: claimed.seq, error: kindOf(error), retryInMs };
    const marking = () => this.table.fail(failure, this.owner);
    if (await this.quietly('marked as failed', marking)) {
      tell(isLast ? 'onParked' : 'onFailed', { ...this.event(claimed), error });
    }
    this.left([claimed]);
  }

  private left(batch: readonly Claimed[]): void {
    const wasFull = this.onTheirWay.size * 2 >= this.settings.batchSize;
    for (const { seq } of batch) {
      this.onTheirWay.delete(seq);
    }
    const freesOthers = batch.some(({ orderingKey }) => orderingKey !== undefined);
    if (wasFull || freesOthers) {
      this.wake();
    }
  }

  /** A relay outlives every outage of its database: what it could not write is found again by its lease. */
  private async quietly<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.complain(`Messages of the outbox could not be ${what}`, error);
      return undefined;
    }
  }

  private event({ id, pattern, attempt }: Claimed) {
    return { id, pattern, sink: this.name, attempt };
  }
}

/** Every attempt has ended without a word: the message may be what kills the process. */
class UnfinishedError extends Error {
  override readonly name = 'UnfinishedError';
  override readonly message = 'Every relay that sent the message died before it had an answer.';
}

/** The kind of an error, never its text: that may quote the message. */
function kindOf(error: unknown): string {
  const { name, code } = Object(error) as { name?: unknown; code?: unknown };
  const kind = typeof name === 'string' ? name : typeof error;
  return (typeof code === 'string' ? `${kind} ${code}` : kind).slice(0, 200);
}
