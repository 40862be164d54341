import { randomUUID } from 'node:crypto';
import type { Counters } from '../src/lab/lab.controller.js';
import type { OrderView } from '../src/orders/order.view.js';

/** An answer as it came over the wire. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as an order, or as the problem that it tells of. */
  readonly json: OrderView & { readonly code?: string };
}

export type RequestHeaders = Readonly<Record<string, string>>;

export const key = (): RequestHeaders => ({ 'Idempotency-Key': randomUUID() });

/** Speaks to the application over HTTP in the name of a demo user. */
export class Client {
  constructor(
    readonly baseUrl: string,
    private readonly token: string,
  ) {}

  async send(
    method: string,
    path: string,
    headers: RequestHeaders = {},
    body?: unknown,
  ): Promise<Answer> {
    const response = await fetch(this.baseUrl + path, {
      method,
      headers: {
        Authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    const json = (text === '' ? undefined : JSON.parse(text)) as Answer['json'];
    return { status: response.status, headers: response.headers, text, json };
  }

  get(path: string): Promise<Answer> {
    return this.send('GET', path);
  }

  post(path: string, headers: RequestHeaders, body?: unknown): Promise<Answer> {
    return this.send('POST', path, headers, body);
  }

  place(headers: RequestHeaders = key(), body: unknown = { sku: 'tea', quantity: 2 }) {
    return this.post('/orders', headers, body);
  }

  async counters(): Promise<Counters> {
    const response = await fetch(`${this.baseUrl}/lab/counters`);
    return (await response.json()) as Counters;
  }
}
