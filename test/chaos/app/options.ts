import type { DataSourceOptions } from 'typeorm';
import type { Failpoint } from '../../../src/engine/failpoints.js';
import type { BadVariant } from '../bad/variants.js';

/** Short, so that a pause of a second outlives it several times. In milliseconds. */
export const LEASE_MS = 400;

/** What an application is told by messages of its parent. */
export type AppCommand =
  | { readonly start: AppOptions }
  | { readonly arm: Strike }
  /** Borrows every connection of the pool at once, and says how many it got. */
  | { readonly borrow: number };

export interface AppOptions {
  readonly platform: 'express' | 'fastify';
  readonly dataSource: DataSourceOptions;
  readonly providerPort: number;
  /** A known-bad variant of the library, which the checker has to find out. */
  readonly variant?: BadVariant;
}

/** What happens, once, to the operation that passes the point next (or after so many others). Its process says `struck` before. */
export interface Strike {
  readonly at: Failpoint;
  /** @default 1 */
  readonly pass?: number;
  readonly action: 'SIGKILL' | 'SIGSTOP' | 'throw';
}

/** The body of every request: one intent of a client. */
export interface Intent {
  readonly sku: string;
  readonly amount: number;
  /** How long the handler takes, half of it before and half after its effect. */
  readonly holdMs: number;
  /** The first run fails after its effect. */
  readonly failsFirst?: boolean;
  /** In the database, it takes from the stock in a transaction inside of the one around it. */
  readonly nests?: boolean;
  /** Told apart by the fingerprint and by nothing else. */
  readonly variant: string;
}

/** What names an intent everywhere: in the ledger, at the payment provider and in the history. */
export function intentName(scope: string, key: string): string {
  return `${scope}/${key}`;
}
