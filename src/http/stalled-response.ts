import type { IdempotencyContext } from '../engine/attempt.js';
import { pause } from '../engine/timing.js';
import type { HeldResponse } from './held-response.js';
import type { HttpExchange } from './http-exchange.js';
import type { RouteSettings } from './route-settings.js';

/**
 * Resolves when nobody will end the response any more: its client is gone and the adapter has stopped
 * writing, or the attempt is over. A handler that answers by itself, and a stream, may take their time.
 */
export async function stalled(
  held: HeldResponse,
  exchange: HttpExchange,
  once: IdempotencyContext,
  { answersByItself, policy }: RouteSettings,
): Promise<void> {
  // most responses end in the same turn as their handler, and need nobody to listen
  await new Promise((resolve) => setImmediate(resolve));
  if (held.ended) {
    return;
  }
  const over = aborted(once.signal);
  await Promise.race([held.event, over, answersByItself ? over : closed(exchange)]);
  let before = -1;
  while (!held.ended && !once.signal.aborted && (held.isStreaming || held.size > before)) {
    before = held.size;
    // for as long as nobody knows better, the pipeline is believed to be at it, like a process
    await pause(policy.leaseMs, once.signal);
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
