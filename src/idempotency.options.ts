import type { FactoryProvider, ModuleMetadata } from '@nestjs/common';
import type { Duration } from './engine/duration.js';
import type { IdempotencyHooks } from './engine/events.js';
import type { IdempotencyStore } from './engine/store.js';
import type { Telemetry } from './engine/telemetry.js';
import type { IdempotencyDefaults } from './idempotent.options.js';

export type * from './idempotent.options.js';

export interface CleanupOptions {
  /**
   * How often expired records are looked for. Each instance waits a random part of it before its turn.
   * @default '1m'
   */
  interval?: Duration;
  /**
   * Records deleted in one statement.
   * @default 1_000
   */
  batchSize?: number;
}

/** What each process keeps in its memory of completed records. */
export interface ReplayCacheOptions {
  /** @default 10_000 */
  maxEntries?: number;
  /**
   * For the results, and a kilobyte for each record besides. In bytes.
   * @default 33_554_432 (32 MiB)
   */
  maxBytes?: number;
  /**
   * How long a record is replayed from memory before the store is asked again, and so how much longer a process
   * replays what was forgotten in another one.
   * @default '1m'
   */
  maxAge?: Duration;
}

/** What stored responses, results, errors and steps are encrypted with. */
export interface EncryptionOptions {
  /** Keys of 32 bytes by name: bytes, or their base64. Keep an old one for as long as records live that it sealed. */
  keys: Readonly<Record<string, Uint8Array | string>>;
  /** The name of the key for what is written from now on. */
  current: string;
}

/** Options of `IdempotencyModule.forRoot()` that a factory may return. */
export interface IdempotencyModuleOptions extends IdempotencyDefaults {
  /**
   * Keeps applications and environments apart that share one store.
   * @default ''
   */
  namespace?: string;
  /**
   * How long the store may take to answer before it counts as down.
   * @default '5s'
   */
  storeTimeout?: Duration;
  /**
   * How long the application waits, when it shuts down, for operations that are running. Their leases are
   * renewed meanwhile, and nothing new is begun.
   * @default '10s'
   */
  shutdownTimeout?: Duration;
  /**
   * What of a key is written beside its record, for people who look into the table. It is never
   * compared. Return `null` to keep nothing.
   * @default the key itself
   */
  maskKey?(key: string): string | null;
  /**
   * The scheduled deletion of expired records; `false` turns it off.
   * @default { interval: '1m', batchSize: 1_000 }
   */
  cleanup?: false | CleanupOptions;
  /**
   * Keeps completed records in memory too, so that a replay in a process that knows them asks no store.
   * `IdempotencyService.forget()` drops a record in its own process at once, in others after `maxAge`.
   * @default false
   */
  replayCache?: boolean | ReplayCacheOptions;
  /**
   * Encrypts stored responses, results, errors and steps, each for its own record (AES-256-GCM). Records from before
   * are still read. A record whose key is gone is refused as `IDEMPOTENCY_RECORD_UNREADABLE`, and nothing is run.
   * @default unset: they are stored as they are
   */
  encryption?: EncryptionOptions;
  /**
   * Whether each decorated handler is written to the log when the application starts: how it is called, where its key
   * comes from, and what it is guaranteed.
   * @default true
   */
  startupReport?: boolean;
  /** Called for what happens to keys. */
  hooks?: IdempotencyHooks;
  /** `openTelemetry()` of `nestjs-idempotency/telemetry`, for spans and metrics. */
  telemetry?: Telemetry;
}

/** A store and what it needs injected. Known while the module graph is built. */
export interface StoreDefinition {
  readonly imports?: ModuleMetadata['imports'];
  readonly inject?: FactoryProvider['inject'];
  readonly useFactory: (...args: never[]) => IdempotencyStore | Promise<IdempotencyStore>;
}

/** What is fixed while the module graph is built, and so cannot come from a factory. */
export interface IdempotencyModuleExtras {
  /**
   * @default `typeOrmStore()` on the application's default DataSource
   */
  store?: IdempotencyStore | StoreDefinition;
  /**
   * Whether every module sees it without importing it.
   * @default true
   */
  isGlobal?: boolean;
}

export interface IdempotencyOptionsFactory {
  createIdempotencyOptions(): IdempotencyModuleOptions | Promise<IdempotencyModuleOptions>;
}
