import type { Emit } from './events.js';
import type { IdempotencyStore } from './store.js';
import type { Telemetry } from './telemetry.js';

export interface EngineOptions {
  readonly store: IdempotencyStore;
  /** How long the store may take to answer before it counts as down, in milliseconds. */
  readonly storeTimeoutMs: number;
  readonly emit: Emit;
  readonly telemetry?: Telemetry | undefined;
  /** What is written beside the record for people to read, or `null`; compared with nothing. */
  readonly mask: (key: string) => string | null;
}
