import { Agent, request } from 'node:http';

const ORDER = { item: 'tea', quantity: 2 };

/** The body of every request: an order, made `bytes` long, whose handler takes `waitMs`. */
function bodyOf({ bytes = 0, waitMs }) {
  const order = { ...ORDER, waitMs };
  const missing = bytes - JSON.stringify({ ...order, text: '' }).length;
  return JSON.stringify(missing > 0 ? { ...order, text: 'x'.repeat(missing) } : order);
}

export class HttpClient {
  #port;
  #agent;
  #body;

  constructor(port, connections, order = {}) {
    this.#port = port;
    this.#body = bodyOf(order);
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** Orders the same each time, as a retry must. */
  post(key, since, path = '/orders') {
    const headers = {
      'content-type': 'application/json',
      'content-length': this.#body.length,
      'idempotency-key': key,
    };
    return this.#send({ method: 'POST', path, headers }, this.#body, since);
  }

  get(path, since) {
    return this.#send({ method: 'GET', path }, undefined, since);
  }

  /**
   * @returns {Promise<{ status: number, headers: object, body: string, ms: number, at: number }>} `ms` from
   *   `since` to the last byte, which was there `at`, on the clock of this process
   */
  #send(target, content, since = performance.now()) {
    return new Promise((resolve, reject) => {
      const options = { agent: this.#agent, host: '127.0.0.1', port: this.#port, ...target };
      const sent = request(options, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => (body += chunk));
        response.on('end', () => {
          const { statusCode: status, headers } = response;
          const at = performance.now();
          resolve({ status, headers, body, ms: at - since, at });
        });
        response.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(content);
    });
  }

  close() {
    this.#agent.destroy();
  }
}
