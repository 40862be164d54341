import { IntersectionType } from '@nestjs/swagger';
import { PlaceOrder } from '../orders/orders.dto.js';
import { PayOrder } from '../payments/pay-order.dto.js';

/** What is ordered, and what shall go wrong while it is paid. */
export class Checkout extends IntersectionType(PlaceOrder, PayOrder) {}
