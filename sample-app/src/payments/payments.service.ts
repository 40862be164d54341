import {
  BadGatewayException,
  ConflictException,
  HttpException,
  HttpStatus,
  Injectable,
  ServiceUnavailableException,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { IdempotencyContext } from 'nestjs-idempotency';
import { Repository } from 'typeorm';
import { Transactions } from '../database/transactions.js';
import { OrdersService } from '../orders/orders.service.js';
import type { Order } from '../orders/order.entity.js';
import { updateOrder } from '../orders/update-order.js';
import type { Simulation } from './pay-order.dto.js';
import { Payment } from './payment.entity.js';
import {
  FakePaymentProvider,
  NoAnswer,
  PaymentDeclined,
} from './provider/fake-payment-provider.js';

/**
 * A payment is a charge at another company, which no transaction of ours reaches, and its booking here. Each is
 * a step: a retry goes on behind those that are finished.
 */
@Injectable()
export class PaymentsService {
  constructor(
    @InjectRepository(Payment) private readonly payments: Repository<Payment>,
    private readonly orders: OrdersService,
    private readonly provider: FakePaymentProvider,
    private readonly transactions: Transactions,
  ) {}

  async pay(
    tenant: string,
    orderId: string,
    simulate: Simulation,
    once: IdempotencyContext,
  ): Promise<Order> {
    const order = await this.hold(tenant, orderId, once);
    const chargeId = await this.charge(order, simulate, once);
    if (simulate.failBooking && once.attempt === 1) {
      throw new ServiceUnavailableException(
        'The shop failed before it booked the charge: repeat with the same Idempotency-Key.',
      );
    }
    await once.transaction('book', () => this.book(order, chargeId));
    return this.orders.get(tenant, orderId);
  }

  /**
   * The order belongs to one payment from now on: two with different keys never both charge, and nobody cancels
   * an order whose money is on its way. Not a step, because it may be repeated, and undone.
   */
  private async hold(tenant: string, orderId: string, once: IdempotencyContext): Promise<Order> {
    const paymentKey = once.derive('charge');
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

  /** An attempt that dies here does not know whether it charged: the next one asks with the same key. */
  private async charge(
    order: Order,
    simulate: Simulation,
    once: IdempotencyContext,
  ): Promise<string> {
    const idempotencyKey = once.derive('charge');
    try {
      const { chargeId } = await once.step('charge', () =>
        this.provider.charge({
          idempotencyKey,
          orderId: order.id,
          amountCents: order.totalCents,
          simulate,
          signal: once.signal,
        }),
      );
      return chargeId;
    } catch (error) {
      if (error instanceof PaymentDeclined) {
        await this.letGo(order.id, idempotencyKey);
        throw new HttpException('The payment was declined.', HttpStatus.PAYMENT_REQUIRED);
      }
      if (error instanceof NoAnswer) {
        throw new BadGatewayException(
          'The payment provider failed, perhaps after charging: repeat with the same Idempotency-Key.',
        );
      }
      throw error;
    }
  }

  /** Both or neither: it runs in a transaction of the step, which repositories join by themselves. */
  private async book(order: Order, chargeId: string): Promise<void> {
    const { id: orderId, totalCents: amountCents } = order;
    await updateOrder(this.payments.manager, { id: orderId, state: 'paying' }, { state: 'paid' });
    await this.payments.insert({ orderId, chargeId, amountCents });
  }

  /** The provider will never charge for this payment, so another one may try. */
  private async letGo(id: string, paymentKey: string): Promise<void> {
    await this.transactions.run((manager) =>
      updateOrder(
        manager,
        { id, paymentKey, state: 'paying' },
        { state: 'placed', paymentKey: '' },
      ),
    );
  }
}
