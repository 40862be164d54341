/** What a client knows of one call. `info`: it may have happened or not. */
export type Certainty = 'ok' | 'fail' | 'info';

export interface Call {
  /** Scope and key. */
  readonly intent: string;
  /** Which body it was sent with. */
  readonly variant: string;
  readonly place: number;
  /** `performance.now()` of the clients' process. */
  readonly began: number;
  readonly ended: number;
  readonly certainty: Certainty;
  /** The status, or what happened to the connection. */
  readonly status: number | string;
  /** The library's code, of a problem. */
  readonly code?: string;
  /** Of an answer that tells an outcome. */
  readonly body?: string;
  readonly replayed?: boolean;
  /** The answer said itself that the store could not take its outcome yet. */
  readonly unrecorded?: boolean;
}

/** One thing that a client wants to happen once. */
export interface IntentRecord {
  readonly intent: string;
  /** Every body that it was sent with: more than one where the client did what it must not. */
  readonly variants: readonly string[];
}

export class History {
  readonly calls: Call[] = [];
  readonly intents: IntentRecord[] = [];
  /** Intents that no answer was got for in the end. */
  readonly stuck: string[] = [];
  readonly faults: { readonly at: number; readonly fault: string }[] = [];
}
