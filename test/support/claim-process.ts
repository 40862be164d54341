/**
 * What every process does of several that claim one another's keys. The parent sends ids; this process claims each of
 * them many times over, some at once, and answers what became of every claim.
 */
import { randomBytes } from 'node:crypto';
import type { IdempotencyStore } from '../../src/engine/store.js';

export interface ClaimReport {
  readonly id: string;
  readonly won: boolean;
  /** Who owns the record according to the answer. */
  readonly owner: string;
  readonly fence: string;
}

const CLAIMS_PER_KEY = 4;

export function answerClaims(store: IdempotencyStore, close: () => void): void {
  process.on('message', (ids: string[]) => {
    const shuffled = [...ids].sort(() => Math.random() - 0.5);
    const claims = shuffled.flatMap((id) =>
      Array.from({ length: CLAIMS_PER_KEY }, () => claim(store, id)),
    );
    void Promise.all(claims).then((reports) => process.send!(reports));
  });
  process.on('disconnect', close);
  process.send!('ready');
}

async function claim(store: IdempotencyStore, id: string): Promise<ClaimReport> {
  const owner = randomBytes(16).toString('hex');
  const result = await store.claim({
    id,
    owner,
    fingerprint: randomBytes(17),
    scope: null,
    operation: null,
    key: null,
    leaseMs: 600_000,
    ttlMs: 600_000,
  });
  return result.type === 'claimed'
    ? { id, won: true, owner, fence: String(result.fence) }
    : { id, won: false, owner: result.record.owner, fence: String(result.record.fence) };
}
