import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { Outbox } from 'nestjs-idempotency/outbox';
import { CurrentUser } from '../auth/current-user.decorator.js';
import type { DemoUser } from '../auth/users.js';
import { Transactions } from '../database/transactions.js';
import { ORDER_PLACED, orderPlaced } from '../messaging/order-placed.js';
import { orderView } from '../orders/order.view.js';
import type { OrderView } from '../orders/order.view.js';
import { OrdersService } from '../orders/orders.service.js';
import { updateOrder } from '../orders/update-order.js';
import { Payment } from '../payments/payment.entity.js';
import { FakePaymentProvider } from '../payments/provider/fake-payment-provider.js';
import { Checkout } from './checkout.dto.js';

/** How not to do it: the checkout without the library, to see what the library is for. */
@Controller('plain/checkout')
export class PlainCheckoutController {
  constructor(
    private readonly orders: OrdersService,
    private readonly provider: FakePaymentProvider,
    private readonly transactions: Transactions,
    private readonly outbox: Outbox,
  ) {}

  @Post()
  async buy(@CurrentUser() user: DemoUser, @Body() dto: Checkout): Promise<OrderView> {
    const order = await this.transactions.run((manager) =>
      this.orders.place(user.tenant, dto, manager),
    );
    const { id: orderId, totalCents: amountCents } = order;
    await this.outbox.emit(ORDER_PLACED, orderPlaced(order));
    const { chargeId } = await this.provider.charge({
      idempotencyKey: randomUUID(),
      orderId,
      amountCents,
      simulate: dto.simulate ?? {},
      signal: AbortSignal.timeout(60_000),
    });
    await this.transactions.run(async (manager) => {
      await updateOrder(manager, { id: orderId }, { state: 'paid' });
      await manager.insert(Payment, { orderId, chargeId, amountCents });
    });
    return orderView(await this.orders.get(user.tenant, orderId));
  }
}
