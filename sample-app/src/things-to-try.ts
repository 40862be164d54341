import { randomUUID } from 'node:crypto';

/** Lines to paste into a shell; the keys are fresh at every start. */
export function thingsToTry(baseUrl: string): string {
  const url = baseUrl.replace('[::1]', 'localhost');
  const post = (path: string, body: string): string =>
    `curl -i -X POST ${url}${path} -H 'Authorization: Bearer alice' ` +
    `-H 'Content-Type: application/json' -H 'Idempotency-Key: ${randomUUID()}' -d '${body}'`;
  const place = post('/orders', '{"sku":"tea","quantity":2}');

  return `
The orders app is ready on ${url}

# 1. Place an order.
${place}

# 2. The same line again replays: see "Idempotent-Replayed: true" and the same id.
${place}

# 3. Pay it: put its id in. The provider charges, then fails; the same line again succeeds.
${post('/orders/ID/pay', '{"simulate":{"failAfter":true}}')}

# 4. One order, one charge, two units less.
curl ${url}/lab/counters
`;
}
