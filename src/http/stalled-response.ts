import type { IdempotencyContext } from '../engine/attempt.js';
import { pause } from '../engine/timing.js';
import type { HeldResponse } from './held-response.js';
import type { HttpExchange } from './http-exchange.js';

/** A response that gets no further for this long, when its client is gone, is over. */
const GRACE_MS = 1_000;

/**
 * Resolves when nobody will end the response any more: adapters stop writing when the client is gone,
 * and a handler may have forgotten it. Never before its client has left or the attempt is aborted.
 */
export async function stalled(
  held: HeldResponse,
  exchange: HttpExchange,
  once: IdempotencyContext,
): Promise<void> {
  // most responses end in the same turn as their handler, and need nobody to listen
  await new Promise((resolve) => setImmediate(resolve));
  if (held.ended) {
    return;
  }
  await Promise.race([held.event, closed(exchange), aborted(once.signal)]);
  let before = -1;
  while (!held.ended && held.size > before) {
    before = held.size;
    await pause(GRACE_MS);
  }
}

function closed({ rawResponse, rawRequest }: HttpExchange): Promise<void> {
  return new Promise((resolve) => {
    if (rawResponse.closed || rawRequest.socket?.destroyed === true) {
      resolve();
    } else {
      rawResponse.once('close', () => resolve());
    }
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
    } else {
      signal.addEventListener('abort', () => resolve(), { once: true });
    }
  });
}
