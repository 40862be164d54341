import { toMilliseconds } from '../engine/duration.js';
import { integer, show, timer, type Check } from '../option-values.js';
import { misconfigured } from '../options-check.js';
import type { Waiting } from '../waiting-counts.js';
import type { HealthOptions } from './idempotency.health.js';

const LARGEST = 1_000_000;
/** How far is counted where no limit asks for more. */
const COUNTED = 1_000;

const count = integer(0, LARGEST - 1);
const CHECKS: Readonly<Record<keyof HealthOptions, Check>> = {
  timeout: timer,
  maxExpired: count,
  maxUncertain: count,
  maxParked: count,
};

export interface HealthLimits {
  readonly timeoutMs: number;
  readonly most: Readonly<Partial<Record<keyof Waiting, number>>>;
  /** How far to count. */
  readonly limit: number;
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an option that is none */
export function healthLimits(options: HealthOptions): HealthLimits {
  for (const [name, value] of Object.entries(options) as [keyof HealthOptions, unknown][]) {
    const wrong = CHECKS[name] === undefined ? 'There is no such option.' : CHECKS[name](value);
    if (value !== undefined && wrong !== undefined) {
      throw misconfigured(
        'IdempotencyHealthIndicator.check()',
        `option '${name}' is ${show(value)}. ${wrong}`,
      );
    }
  }
  const { timeout = '1s', maxExpired, maxUncertain, maxParked } = options;
  const given = { expired: maxExpired, uncertain: maxUncertain, parked: maxParked };
  const most = Object.fromEntries(
    Object.entries(given).filter(([, allowed]) => allowed !== undefined),
  ) as HealthLimits['most'];
  return {
    timeoutMs: toMilliseconds(timeout) as number, // checked
    most,
    limit: Math.max(COUNTED, ...Object.values(most).map((allowed) => allowed + 1)),
  };
}
