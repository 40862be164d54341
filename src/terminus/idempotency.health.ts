import { Injectable } from '@nestjs/common';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import type { Duration } from '../engine/duration.js';
import { IdempotencyError } from '../engine/errors.js';
import { within } from '../engine/timing.js';
import { IdempotencyService } from '../idempotency.service.js';
import { healthLimits } from './health-limits.js';
import { Counts } from '../waiting-counts.js';

export interface HealthOptions {
  /**
   * How long the store may take to answer.
   * @default '1s'
   */
  readonly timeout?: Duration;
  /** Unhealthy above it: expired records that clean-up has not deleted. Up to 1,000,000. */
  readonly maxExpired?: number;
  /** Unhealthy above it: records whose outcome nobody knows. Up to 1,000,000. */
  readonly maxUncertain?: number;
  /** Unhealthy above it: operations that failed as often as they may. Up to 1,000,000. */
  readonly maxParked?: number;
}

/** For a Terminus health check: whether the store answers and its table is there, and what waits for somebody. */
@Injectable()
export class IdempotencyHealthIndicator {
  private readonly counts: Counts;

  constructor(
    private readonly indicators: HealthIndicatorService,
    private readonly idempotency: IdempotencyService,
  ) {
    this.counts = new Counts((state, limit) => idempotency.count({ state }, limit));
  }

  /**
   * Down when the store does not answer within `timeout`, when its table is missing or older than this version, or
   * when there is more of something than `options` allow. Asks the store at every call, and counts once a minute.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for options that are none
   */
  async check<const Key extends string>(
    key: Key,
    options: HealthOptions = {},
  ): Promise<HealthIndicatorResult<Key>> {
    const { timeoutMs, most, limit } = healthLimits(options);
    const indicator = this.indicators.check(key);
    try {
      await within(timeoutMs, this.idempotency.ping());
      const counts = await this.counts.within(timeoutMs, limit);
      const message = Object.entries(most)
        .filter(([name, allowed]) => (counts?.[name as keyof typeof most] ?? 0) > allowed)
        .map(([name, allowed]) => `More than ${allowed} records are ${name}.`)
        .join(' ');
      return message === '' ? indicator.up({ ...counts }) : indicator.down({ ...counts, message });
    } catch (error) {
      const isOurs = error instanceof IdempotencyError;
      return indicator.down({
        code: isOurs ? error.code : 'IDEMPOTENCY_STORE_UNAVAILABLE',
        message: isOurs ? error.message : `The store did not answer within ${timeoutMs} ms.`,
      });
    }
  }
}
