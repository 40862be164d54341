import { BadGatewayException, ConflictException, Injectable } from '@nestjs/common';
import { Transactions } from '../database/transactions.js';
import { OrdersService } from '../orders/orders.service.js';
import type { Order } from '../orders/order.entity.js';
import { updateOrder } from '../orders/update-order.js';
import { FakePaymentProvider, PaymentFailed } from './fake-payment-provider.js';
import type { Simulation } from './pay-order.dto.js';

export interface Payment {
  readonly tenant: string;
  readonly orderId: string;
  /** The same over all attempts of one payment. */
  readonly paymentKey: string;
  readonly simulate: Simulation;
  readonly signal: AbortSignal;
}

/**
 * A payment holds its order (`paying`) while it talks to the provider, so that two payments with
 * different keys never both charge. A retry carries the same payment key and goes on where the
 * attempt before it stopped.
 */
@Injectable()
export class PaymentsService {
  constructor(
    private readonly orders: OrdersService,
    private readonly provider: FakePaymentProvider,
    private readonly transactions: Transactions,
  ) {}

  async pay(payment: Payment): Promise<Order> {
    const order = await this.hold(payment);
    try {
      await this.provider.charge({
        idempotencyKey: payment.paymentKey,
        orderId: order.id,
        amountCents: order.totalCents,
        simulate: payment.simulate,
        signal: payment.signal,
      });
    } catch (error) {
      if (error instanceof PaymentFailed) {
        await this.failed(payment, error);
      }
      throw error;
    }
    await this.move(payment, 'paid');
    return this.orders.get(payment.tenant, order.id);
  }

  private async hold({ tenant, orderId, paymentKey }: Payment): Promise<Order> {
    await this.transactions.run((manager) =>
      updateOrder(
        manager,
        { id: orderId, tenant, state: 'placed' },
        { state: 'paying', paymentKey },
      ),
    );
    const order = await this.orders.get(tenant, orderId);
    if (order.paymentKey === paymentKey && order.state !== 'cancelled') {
      return order;
    }
    switch (order.state) {
      case 'paid':
        throw new ConflictException('The order is already paid.');
      case 'cancelled':
        throw new ConflictException('The order is cancelled: it can not be paid.');
      default:
        throw new ConflictException(
          'Another payment of this order has begun: repeat it with its own Idempotency-Key.',
        );
    }
  }

  /** When nothing was charged any other payment may try; otherwise only this one may go on. */
  private async failed(payment: Payment, { charged }: PaymentFailed): Promise<never> {
    if (charged === false) {
      await this.move(payment, 'placed');
      throw new BadGatewayException('The payment provider failed, and nothing was charged.');
    }
    throw new BadGatewayException(
      'The payment provider failed, perhaps after charging: repeat with the same Idempotency-Key.',
    );
  }

  /** Ends the hold of this payment; does nothing when an earlier attempt has ended it. */
  private async move({ orderId: id, paymentKey }: Payment, to: 'paid' | 'placed'): Promise<void> {
    await this.transactions.run((manager) =>
      updateOrder(
        manager,
        { id, paymentKey, state: 'paying' },
        { state: to, paymentKey: to === 'paid' ? paymentKey : '' },
      ),
    );
  }
}
