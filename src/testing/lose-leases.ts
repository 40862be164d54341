import { setTimeout as pause } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { IdempotencyEngine } from '../engine/engine.js';
import type { Claim, IdempotencyStore } from '../engine/store.js';

/** More than the lease of a millisecond that is left to a claim. */
const REST_MS = 5;

/**
 * What runs in `app` loses its lease, as if its process had been paused for longer: `once.signal` aborts, and another
 * attempt may begin. A transactional operation is rolled back. Resolves when the store has given the claims up.
 *
 * @param app the application, or a testing module
 * @throws Error when nothing runs; what the store throws
 */
export async function loseLeases(app: INestApplicationContext): Promise<void> {
  let lost = 0;
  for (const engine of enginesOf(app)) {
    const { operations, claims } = engine.loseLeases();
    lost += operations;
    await runOut(engine.store, claims);
  }
  if (lost === 0) {
    throw new Error(
      'Nothing runs in this application that could lose its lease. Call loseLeases() while a handler is at work.',
    );
  }
}

function enginesOf(app: INestApplicationContext): IdempotencyEngine[] {
  try {
    return app.get(IdempotencyEngine, { strict: false, each: true });
  } catch (cause) {
    throw new Error(
      'There is no IdempotencyModule in this application. Give the one that the handler runs in.',
      { cause },
    );
  }
}

/** Once more where a renewal was under way. */
async function runOut(store: IdempotencyStore, claims: readonly Claim[]): Promise<void> {
  while (claims.length > 0 && (await store.renew(claims, 1)).size > 0) {
    await pause(REST_MS);
  }
}
