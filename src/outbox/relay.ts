import { Inject, Injectable, Logger } from '@nestjs/common';
import { describeCause } from '../describe-cause.js';
import { newOwner } from '../engine/identity.js';
import { pause } from '../engine/timing.js';
import { OUTBOX_SETTINGS } from './outbox.constants.js';
import type { OutboxCore } from './outbox-core.js';
import type { OutboxSettings } from './outbox.settings.js';
import { RelayLoop } from './relay-loop.js';

const CLEANUP_BATCH = 1_000;
const CLEANUP_INTERVAL_MS = 60_000;

/** Sends the messages of the outbox, beside any number of other relays in other processes. */
@Injectable()
export class OutboxRelay {
  private readonly logger = new Logger('Idempotency');
  private loops: RelayLoop[] | undefined;
  private readonly closing = new AbortController();
  private cleaning: Promise<void> | undefined;
  /** It would be the same at every poll. */
  private hasComplained = false;

  constructor(@Inject(OUTBOX_SETTINGS) private readonly settings: OutboxSettings) {}

  /** @internal Starting twice is starting once: hybrid applications bootstrap twice. */
  start({ table, wakeUp }: OutboxCore): void {
    if (this.loops !== undefined || this.closing.signal.aborted) {
      return;
    }
    const { settings } = this;
    const owner = newOwner();
    const complain = (what: string, error: unknown): void => this.complain(what, error);
    this.loops = [...settings.sinks].map(
      ([name, sink]) => new RelayLoop(name, sink, table, settings, owner, complain),
    );
    for (const loop of this.loops) {
      wakeUp.listen(() => loop.wake());
      loop.start();
    }
    if (settings.keepSentMs !== undefined) {
      this.cleaning = this.cleanUp(settings.keepSentMs, table);
    }
  }

  /** @internal nothing new is claimed */
  close(): void {
    this.closing.abort();
    for (const loop of this.loops ?? []) {
      loop.close();
    }
  }

  /** @internal what is on its way is finished, and the rest given back */
  async stop(): Promise<void> {
    this.close();
    const ms = this.settings.shutdownTimeoutMs;
    await Promise.all((this.loops ?? []).map((loop) => loop.stop(ms)));
    await Promise.race([this.cleaning, pause(ms)]);
  }

  /** Deletes the rows of sent messages whose time is over, in batches. */
  private async cleanUp(
    keepMs: number,
    table: { deleteSent(olderThanMs: number, limit: number): Promise<number> },
  ): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      await pause(Math.random() * Math.min(keepMs, CLEANUP_INTERVAL_MS), signal);
      try {
        let deleted = CLEANUP_BATCH;
        while (deleted === CLEANUP_BATCH && !signal.aborted) {
          const startedAt = performance.now();
          deleted = await table.deleteSent(keepMs, CLEANUP_BATCH);
          // as long a rest as the work took, so that others keep their share of the database
          await pause(performance.now() - startedAt, signal);
        }
      } catch (error) {
        this.complain('Sent messages of the outbox could not be deleted', error);
      }
    }
  }

  private complain(what: string, error: unknown): void {
    if (!this.hasComplained) {
      this.hasComplained = true;
      const cause = describeCause(error instanceof Error ? error : new Error());
      this.logger.warn(`${what}${cause}; the relay goes on trying, and does not say so again.`);
    }
  }
}
