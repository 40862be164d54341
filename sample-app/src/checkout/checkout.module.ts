import { Module } from '@nestjs/common';
import { OrdersModule } from '../orders/orders.module.js';
import { PaymentsModule } from '../payments/payments.module.js';
import { CheckoutController } from './checkout.controller.js';
import { PlainCheckoutController } from './plain-checkout.controller.js';

@Module({
  imports: [OrdersModule, PaymentsModule],
  controllers: [CheckoutController, PlainCheckoutController],
})
export class CheckoutModule {}
