import { idempotentFetch } from '/client/index.js';

/** Long enough to see that two requests overlap. */
const PAYMENT_MS = 400;
const NAME = 'lab-request';

/** The very same requests; only the server differs. */
const PATHS = { on: '/checkout', off: '/plain/checkout' };

/**
 * Buys tea, as often as it takes to get an answer.
 *
 * @param {(attempt: object) => void} onAttempt hears of every try when it begins, and when it has ended
 */
export function buyer(mode, onAttempt) {
  const requests = new Map();
  const send = window.fetch;
  // the client calls `fetch` for each try: here is where all of them can be seen
  window.fetch = async (request) => {
    const attempt = begin(requests.get(request.headers.get(NAME)));
    onAttempt(attempt);
    try {
      const response = await send(request);
      Object.assign(attempt, outcomeOf(response));
      return response;
    } catch (error) {
      attempt.outcome = 'lost';
      throw error;
    } finally {
      attempt.end = performance.now();
      onAttempt(attempt);
    }
  };

  async function buy({ key, name = 'Request', user = 'alice', quantity = 1, via = '', to = [] }) {
    const id = String(requests.size);
    requests.set(id, { name, user, to, tries: [] });
    await idempotentFetch(
      via + PATHS[mode],
      {
        method: 'POST',
        headers: {
          authorization: `Bearer ${user}`,
          'content-type': 'application/json',
          [NAME]: id,
        },
        body: JSON.stringify({ sku: 'tea', quantity, simulate: { delayMs: PAYMENT_MS } }),
      },
      { key },
    );
  }
  return {
    buy,
    done: () => {
      window.fetch = send;
    },
  };
}

function begin({ name, user, to, tries }) {
  const start = performance.now();
  const previous = tries.at(-1);
  if (previous) previous.resumed = start;
  const attempt = {
    name: previous ? `${name}, retry ${tries.length}` : name,
    way: `${user} → ${to[tries.length] ?? to.at(-1) ?? 'server 1'}`,
    start,
  };
  tries.push(attempt);
  return attempt;
}

function outcomeOf({ status, headers }) {
  if (headers.get('idempotent-replayed') === 'true') return { status, outcome: 'replayed' };
  if (status < 300) return { status, outcome: 'executed' };
  const comesBack = status === 409 && headers.has('retry-after');
  return { status, outcome: comesBack ? 'waited' : 'refused' };
}

/** Waits until that instance of the shop runs. */
export async function ready(role) {
  const response = await fetch(`/lab/instances/${role}`, {
    method: 'PUT',
    headers: { authorization: 'Bearer alice' },
  });
  if (!response.ok) throw new Error(`The ${role} server does not start (${response.status}).`);
}

export async function counters() {
  const { orders, charges, mails, stock } = await (await fetch('/lab/counters')).json();
  return { orders, charges, mails, tea: stock.tea };
}

/** The counters once every order has its mail: that goes through an outbox and arrives a little later. */
export async function settledCounters(before) {
  const giveUpAt = performance.now() + 20_000;
  for (;;) {
    const after = await counters();
    const isMailed = after.mails - before.mails >= after.orders - before.orders;
    if (isMailed || after.mails < 0 || performance.now() > giveUpAt) return after;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}
