import type { ChargeRequest } from './provider.js';

/** How long a provider that does not answer is waited for, in milliseconds. */
const PATIENCE_MS = 2_000;

/** Asks the payment provider for one charge and answers its id. */
export async function charge(port: number, request: ChargeRequest): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/charges`, {
    method: 'POST',
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const { charge } = (await response.json()) as { charge: string };
  return charge;
}
