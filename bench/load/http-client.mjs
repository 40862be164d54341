import { Agent, request } from 'node:http';

const BODY = JSON.stringify({ item: 'tea', quantity: 2 });

export class HttpClient {
  #port;
  #agent;

  constructor(port, connections) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** Orders the same each time, as a retry must. */
  post(key, since, path = '/orders') {
    const headers = {
      'content-type': 'application/json',
      'content-length': BODY.length,
      'idempotency-key': key,
    };
    return this.#send({ method: 'POST', path, headers }, BODY, since);
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
