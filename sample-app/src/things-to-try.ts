import { randomUUID } from 'node:crypto';

/** Lines to paste into a shell; the keys are fresh at every start. */
export function thingsToTry(baseUrl: string): string {
  const url = baseUrl.replace('[::1]', 'localhost');
  const place = { path: '/orders', key: randomUUID(), body: '{"sku":"tea","quantity":2}' };
  const pay = {
    path: '/orders/$id/pay',
    key: randomUUID(),
    body: '{"simulate":{"failBooking":true}}',
  };
  const post = ({ path, key, body }: typeof place, options = '-i'): string =>
    `curl ${options} -X POST "${url}${path}" -H 'Authorization: Bearer alice' ` +
    `-H 'Content-Type: application/json' -H 'Idempotency-Key: ${key}' -d '${body}'`;

  return `
The orders app is ready on ${url}
Open it in a browser for the Retry lab, or paste lines into a shell:

# 1. Place an order: the order, the stock and the key are committed together.
${post(place)}

# 2. The same line again replays: see "Idempotent-Replayed: true" and the same id.
${post(place)}

# 3. Keep its id. One more replay will do.
id=$(${post(place, '-s')} | sed -E 's/.*"id":"([^"]+)".*/\\1/')

# 4. Pay it. The provider charges, then the shop fails before it books that: 503.
${post(pay)}

# 5. The same line again goes on behind the charge, and books it: 200.
${post(pay)}

# 6. One order, two units less; asked to charge once, charged once, booked once. And what the second
#    service was told: one reservation, one mail.
curl ${url}/lab/counters

# 7. A receipt needs no key of yours: the order is the key. However often, one number.
curl -i -X POST "${url}/orders/$id/receipt" -H 'Authorization: Bearer alice'

# 8. All of it in a browser: ${url}/docs. The keys and their problems are in there by themselves.

# 9. The keys that were sent, and what became of them: ${url}/idempotency
`;
}
