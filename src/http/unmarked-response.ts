import type { HttpExchange } from './http-exchange.js';
import { headOf, restoreHead } from './response-head.js';

/** What Fastify keeps for itself until it sends. */
interface Reply {
  getHeaders(): Record<string, unknown>;
  removeHeader(name: string): void;
  header(name: string, value: unknown): void;
}

/** Remembers the head of a response that nobody has touched. The function it answers puts it back. */
export function unmarked({ rawResponse, response }: HttpExchange): () => void {
  const head = headOf(rawResponse);
  // Express has only Node's own
  const reply = response === (rawResponse as unknown) ? undefined : (response as unknown as Reply);
  const before = { ...reply?.getHeaders() };
  return () => {
    for (const name of Object.keys({ ...reply?.getHeaders() })) {
      reply?.removeHeader(name);
    }
    restoreHead(rawResponse, head);
    for (const [name, value] of Object.entries(before)) {
      reply?.header(name, value);
    }
  };
}
