import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { OrdersModule } from '../orders/orders.module.js';
import { Charge } from './charge.entity.js';
import { FakePaymentProvider } from './fake-payment-provider.js';
import { PaymentsController } from './payments.controller.js';
import { PaymentsService } from './payments.service.js';

@Module({
  imports: [TypeOrmModule.forFeature([Charge]), OrdersModule],
  controllers: [PaymentsController],
  providers: [PaymentsService, FakePaymentProvider],
})
export class PaymentsModule {}
