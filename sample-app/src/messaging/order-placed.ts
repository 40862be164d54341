import type { Order } from '../orders/order.entity.js';

/** Names of the messages between the services. */
export const ORDER_PLACED = 'order.placed';
export const FULFILMENT_FIGURES = 'fulfilment.figures';

/** Told to other services when an order was placed. */
export interface OrderPlaced {
  readonly orderId: string;
  readonly tenant: string;
  readonly sku: string;
  readonly quantity: number;
}

export function orderPlaced({ id, tenant, sku, quantity }: Order): OrderPlaced {
  return { orderId: id, tenant, sku, quantity };
}

/** Where a transport without headers carries the id of a message. */
export const ID_FIELD = 'messageId';
