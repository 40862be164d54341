import { Body, Controller, Post } from '@nestjs/common';
import { CurrentIdempotency, Idempotent } from 'nestjs-idempotency';
import type { IdempotencyContext } from 'nestjs-idempotency';
import { CurrentUser } from '../auth/current-user.decorator.js';
import type { DemoUser } from '../auth/users.js';
import { ORDER_PLACED, orderPlaced } from '../messaging/order-placed.js';
import { orderView } from '../orders/order.view.js';
import type { OrderView } from '../orders/order.view.js';
import { OrdersService } from '../orders/orders.service.js';
import { PaymentsService } from '../payments/payments.service.js';
import { Checkout } from './checkout.dto.js';

@Controller('checkout')
export class CheckoutController {
  constructor(
    private readonly orders: OrdersService,
    private readonly payments: PaymentsService,
  ) {}

  /**
   * Order and payment in one request. The order, what it takes off the shelf and the message about it commit
   * together, as a step of which a retry knows the outcome; the payment has steps of its own.
   */
  @Post()
  @Idempotent({ lease: '3s', errors: 'store-client-errors' })
  async buy(
    @CurrentUser() user: DemoUser,
    @Body() dto: Checkout,
    @CurrentIdempotency() once: IdempotencyContext,
  ): Promise<OrderView> {
    const { id } = await once.transaction('place', async () => {
      const order = await this.orders.place(user.tenant, dto);
      await once.outbox.emit(ORDER_PLACED, orderPlaced(order));
      return { id: order.id };
    });
    return orderView(await this.payments.pay(user.tenant, id, dto.simulate ?? {}, once));
  }
}
