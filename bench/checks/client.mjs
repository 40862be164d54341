import { randomUUID } from 'node:crypto';
import { request } from 'node:http';

/** Talks to the two processes of a contender. Every check gets one of its own, with effects of its own. */
export class CheckClient {
  #apps;
  #label = randomUUID();

  constructor(apps) {
    this.#apps = apps;
  }

  /** How often a handler ran for this check, in both processes. */
  async ran() {
    const counts = await Promise.all(this.#apps.map((app) => app.ask('effectsOf', this.#label)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  post(key, options) {
    return this.send({ key, ...options });
  }

  /**
   * @param {{ key?: string | string[], path?: string, method?: string, body?: unknown, raw?: string, headers?: object, to?: number, hangUpMs?: number }} what
   *   two keys are two header lines; `hangUpMs` ends the connection then, and there is no answer
   */
  send({ key, path = 'orders', method = 'POST', body = ORDER, raw, headers, to = 0, hangUpMs }) {
    const content = method === 'GET' ? undefined : (raw ?? JSON.stringify(body));
    const sending = {
      host: '127.0.0.1',
      port: this.#apps[to].port,
      path: `/points/${path}`,
      method,
      headers: {
        'x-effect': this.#label,
        ...(content && { 'content-type': 'application/json' }),
        ...(key !== undefined && { 'idempotency-key': key }),
        ...headers,
      },
    };
    return new Promise((resolve, reject) => {
      const sent = request(sending, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => {
          const bytes = Buffer.concat(chunks);
          resolve({
            status: response.statusCode,
            headers: response.headers,
            body: bytes.toString('latin1'),
          });
        });
        response.on('error', reject);
      });
      sent.setTimeout(10_000, () => sent.destroy(new Error('there was no answer for 10 s')));
      if (hangUpMs === undefined) {
        sent.on('error', reject);
      } else {
        sent.on('error', () => resolve(undefined));
        setTimeout(() => sent.destroy(), hangUpMs);
      }
      sent.end(content);
    });
  }

  /** As a client that retries: until it is not told to come back, for three seconds at most. */
  async retry(key, options) {
    const end = performance.now() + 3_000;
    for (;;) {
      const answer = await this.post(key, options);
      if (answer.status !== 409 || performance.now() > end) {
        return answer;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export const ORDER = { item: 'tea', quantity: 2 };
