import type { Response } from 'express';
import type { Order } from './order.entity.js';

/** What a client sees of an order. */
export type OrderView = Omit<Order, 'tenant' | 'paymentKey'>;

export function orderView({ tenant: _tenant, paymentKey: _paymentKey, ...view }: Order): OrderView {
  return view;
}

export function etag(order: { version: number }): string {
  return `"${order.version}"`;
}

/** Puts the version of the order into the headers, and answers its body. */
export function showOrder(order: Order, response: Response): OrderView {
  response.setHeader('ETag', etag(order));
  return orderView(order);
}
