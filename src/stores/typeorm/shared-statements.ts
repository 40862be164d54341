import type {
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  IdempotencyStore,
  SettleResult,
  StoredRecord,
} from '../../engine/store.js';
import type { Dialect } from './dialects/dialect.js';
import { MicroBatch } from './micro-batch.js';
import { claimTogether, completeTogether, findTogether } from './together.js';

/** A larger outcome has a statement of its own: servers limit how long one may be. */
const LARGEST_SHARED = 32_768;

/** Claims, completions and look-ups that come at the same time, and share a round trip and a commit. */
export class SharedStatements {
  private readonly claims: MicroBatch<ClaimRequest, ClaimResult>;
  private readonly completions: MicroBatch<CompleteRequest, SettleResult>;
  private readonly looks: MicroBatch<{ readonly id: string }, StoredRecord | null>;

  /** @param send sends to the database, without another try: whoever has no answer then is sent alone */
  constructor(
    send: <T>(statement: (db: Dialect) => Promise<T>) => Promise<T>,
    private readonly alone: Pick<IdempotencyStore, 'claim' | 'complete' | 'find'>,
  ) {
    this.claims = new MicroBatch(
      (request) => alone.claim(request),
      (requests) => send((db) => claimTogether(db, requests, true)),
    );
    this.completions = new MicroBatch(
      (request) => alone.complete(request),
      (requests) => send((db) => completeTogether(db, requests, true)),
    );
    this.looks = new MicroBatch(
      ({ id }) => alone.find(id),
      (looks) => send((db) => findTogether(db, looks)),
    );
  }

  claim(request: ClaimRequest): Promise<ClaimResult> {
    return this.claims.add(request);
  }

  complete(request: CompleteRequest): Promise<SettleResult> {
    const isLarge = (request.result?.length ?? 0) > LARGEST_SHARED;
    return isLarge ? this.alone.complete(request) : this.completions.add(request);
  }

  find(id: string): Promise<StoredRecord | null> {
    return this.looks.add({ id });
  }
}
