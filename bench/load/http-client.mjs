import { Agent, request } from 'node:http';

const BODY = JSON.stringify({ item: 'tea', quantity: 2 });

export class HttpClient {
  #port;
  #agent;

  constructor(port, connections) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** @returns {Promise<{ status: number, body: string, ms: number }>} measured from `since` */
  post(key, since = performance.now()) {
    return new Promise((resolve, reject) => {
      const options = {
        agent: this.#agent,
        host: '127.0.0.1',
        port: this.#port,
        method: 'POST',
        path: '/orders',
        headers: {
          'content-type': 'application/json',
          'content-length': BODY.length,
          'idempotency-key': key,
        },
      };
      const sent = request(options, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => (body += chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode, body, ms: performance.now() - since }),
        );
        response.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(BODY);
    });
  }

  close() {
    this.#agent.destroy();
  }
}
