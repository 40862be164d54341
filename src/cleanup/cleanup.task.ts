import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
} from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { describeCause } from '../describe-cause.js';
import { IdempotencyEngine } from '../engine/engine.js';
import { pause } from '../engine/timing.js';
import { IDEMPOTENCY_SETTINGS } from '../idempotency.constants.js';
import type { ModuleSettings } from '../idempotency.settings.js';
import { deleteExpired } from './delete-expired.js';
import { registerInterval } from './scheduler-registry.js';

/** The timer's name in the application's `SchedulerRegistry`. */
export const CLEANUP_INTERVAL = 'nestjs-idempotency:cleanup';

/**
 * Deletes expired records, in batches, on a timer that never keeps the process alive. The store sees to
 * it that one instance does so at a time.
 */
@Injectable()
export class CleanupTask implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger('Idempotency');
  private timer: NodeJS.Timeout | undefined;
  private told: string | undefined;
  private running: Promise<void> | undefined;
  private readonly stopped = new AbortController();

  constructor(
    private readonly moduleRef: ModuleRef,
    private readonly engine: IdempotencyEngine,
    @Inject(IDEMPOTENCY_SETTINGS) private readonly settings: ModuleSettings,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { cleanup } = this.settings;
    // hybrid applications bootstrap twice
    if (cleanup === undefined || this.timer !== undefined) {
      return;
    }
    this.timer = setInterval(() => this.tick(cleanup.intervalMs), cleanup.intervalMs).unref();
    await registerInterval(this.moduleRef, CLEANUP_INTERVAL, this.timer);
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped.abort();
    clearInterval(this.timer);
    // a store that hangs must not keep the application from closing
    await Promise.race([this.running, pause(this.settings.storeTimeoutMs)]);
  }

  /** Deletes every expired record now. Answers how many. */
  async deleteExpired(): Promise<number> {
    const deleted = await deleteExpired(this.engine.store, {
      batchSize: this.settings.cleanup?.batchSize,
      storeTimeoutMs: this.settings.storeTimeoutMs,
      signal: this.stopped.signal,
      warn: (sentence) => this.warn(sentence),
    });
    if (deleted > 0) {
      this.settings.emit('onExpired', { deleted });
    }
    return deleted;
  }

  /** Once: it stays true until somebody does something about it. */
  private warn(sentence: string): void {
    if (sentence !== this.told) this.logger.warn(sentence);
    this.told = sentence;
  }

  private tick(intervalMs: number): void {
    this.running ??= this.cleanUp(intervalMs).finally(() => {
      this.running = undefined;
    });
  }

  private async cleanUp(intervalMs: number): Promise<void> {
    await pause((Math.random() * intervalMs) / 2, this.stopped.signal);
    if (this.stopped.signal.aborted) {
      return;
    }
    try {
      await this.deleteExpired();
    } catch (error) {
      this.logger.warn(
        'Expired records could not be deleted; the next turn tries again' +
          `${describeCause(new Error('', { cause: error }))}.`,
      );
    }
  }
}
